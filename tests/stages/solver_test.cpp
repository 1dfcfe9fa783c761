// Solvers against closed forms: fields whose flow is known, evaluations counted.
#include "stages/evaluate/solver.h"

#include "storage/error.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace couplet {
namespace {

/// dx/dt = rate · x: x(0) = x(1) · exp(-rate).
VelocityField linear_field(double rate, std::int64_t* evaluations = nullptr) {
  return [=](const at::Tensor& x, double) {
    if (evaluations) ++*evaluations;
    return x * rate;
  };
}

std::string refusal(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Solver, NamesRoundTrip) {
  for (const char* name : {"euler", "heun", "heun-full"}) EXPECT_EQ(solver_name(parse_solver(name)), name);
  for (const char* name : {"uniform", "squared"}) EXPECT_EQ(grid_name(parse_grid(name)), name);
  EXPECT_NE(refusal([] { parse_solver("rk9"); }).find("heun-full"), std::string::npos);
  EXPECT_NE(refusal([] { parse_grid("cubic"); }).find("squared"), std::string::npos);
}

TEST(Solver, StepsSpendTheEvaluationsExactly) {
  EXPECT_EQ(solver_steps(Solver::euler, 5), 5);
  EXPECT_EQ(solver_steps(Solver::heun, 7), 4);
  EXPECT_EQ(solver_steps(Solver::heun, 1), 1);
  EXPECT_EQ(solver_steps(Solver::heun_full, 8), 4);
  const std::string even = refusal([] { solver_steps(Solver::heun, 8); });
  EXPECT_NE(even.find("take 7 or 9"), std::string::npos) << even;
  const std::string odd = refusal([] { solver_steps(Solver::heun_full, 7); });
  EXPECT_NE(odd.find("take 6 or 8"), std::string::npos) << odd;
  EXPECT_NE(refusal([] { solver_steps(Solver::euler, 0); }), "");
  EXPECT_NE(refusal([] { solver_steps(Solver::heun_full, 1); }), "");
}

TEST(Solver, Grids) {
  EXPECT_EQ(time_grid(Grid::uniform, 4), (std::vector<double>{0, 0.25, 0.5, 0.75, 1}));
  EXPECT_EQ(time_grid(Grid::squared, 4), (std::vector<double>{0, 0.0625, 0.25, 0.5625, 1}));
}

TEST(Solver, RefusesTimesThatDoNotAscend) {
  const at::Tensor z = torch::ones({1, 1}, torch::kDouble);
  for (const std::vector<double>& times : {std::vector<double>{1, 0}, {0, 0.5}, {0, 0.5, 0.5, 1}, {1}}) {
    EXPECT_THROW(solve_along(linear_field(1), z, Solver::euler, times), Error);
  }
}

TEST(Solver, CountsEvaluations) {
  const at::Tensor z = torch::ones({2, 3}, torch::kDouble);
  for (const auto& [solver, nfe] :
       {std::pair{Solver::euler, 5}, {Solver::heun, 1}, {Solver::heun, 9}, {Solver::heun_full, 6}}) {
    std::int64_t evaluations = 0;
    solve(linear_field(0.5, &evaluations), z, solver, Grid::squared, nfe);
    EXPECT_EQ(evaluations, nfe);
  }
}

TEST(Solver, StepsOfALinearFieldAreItsFactors) {
  const double rate = 0.8;
  const at::Tensor z = torch::tensor({{1.0, -2.0}}, torch::kDouble);
  const auto factor = [&](Solver solver, Grid grid, std::int64_t nfe) {
    const at::Tensor x = solve(linear_field(rate), z, solver, grid, nfe);
    EXPECT_NEAR(x[0][1].item<double>(), -2 * x[0][0].item<double>(), 1e-15);
    return x[0][0].item<double>();
  };
  EXPECT_NEAR(factor(Solver::euler, Grid::uniform, 4), std::pow(1 - rate / 4, 4), 1e-15);
  EXPECT_NEAR(factor(Solver::euler, Grid::squared, 2), (1 - 0.75 * rate) * (1 - 0.25 * rate), 1e-15);
  const double step = 1 - rate / 4 + rate * rate / 32;
  EXPECT_NEAR(factor(Solver::heun_full, Grid::uniform, 8), std::pow(step, 4), 1e-15);
  EXPECT_NEAR(factor(Solver::heun, Grid::uniform, 7), std::pow(step, 3) * (1 - rate / 4), 1e-15);
}

TEST(Solver, ConvergesInItsOrder) {
  // dx/dt = x + t: x(t) = (x(1) + 2) exp(t - 1) - t - 1, so x(0) = (x(1) + 2) / e - 1.
  const VelocityField field = [](const at::Tensor& x, double t) { return x + t; };
  const at::Tensor z = torch::full({1, 1}, 0.3, torch::kDouble);
  const double exact = 2.3 / std::exp(1.0) - 1;
  const auto error = [&](Solver solver, Grid grid, std::int64_t steps) {
    return std::abs(solve_along(field, z, solver, time_grid(grid, steps)).item<double>() - exact);
  };
  for (const Grid grid : {Grid::uniform, Grid::squared}) {
    EXPECT_NEAR(std::log2(error(Solver::euler, grid, 256) / error(Solver::euler, grid, 512)), 1, 0.02);
    EXPECT_NEAR(std::log2(error(Solver::heun_full, grid, 256) / error(Solver::heun_full, grid, 512)), 2, 0.02);
  }
  // The Euler step into t = 0 costs a local error of second order: with 1/n steps the order stays 2.
  EXPECT_NEAR(std::log2(error(Solver::heun, Grid::uniform, 256) / error(Solver::heun, Grid::uniform, 512)), 2, 0.05);
}

TEST(Solver, LeavesItsInputAndTypeAlone) {
  const at::Tensor z = torch::ones({2, 3});
  const VelocityField half = [](const at::Tensor& x, double) { return x.to(torch::kBFloat16); };
  const at::Tensor x = solve(half, z, Solver::heun, Grid::uniform, 5);
  EXPECT_EQ(x.scalar_type(), torch::kFloat);
  EXPECT_TRUE(z.equal(torch::ones({2, 3})));
}

TEST(Solver, RefusesAFieldOfAnotherShape) {
  const VelocityField field = [](const at::Tensor& x, double) { return x.sum(); };
  EXPECT_THROW(solve(field, torch::ones({2, 3}), Solver::euler, Grid::uniform, 1), Error);
}

TEST(Curvature, StraightPathsHaveNone) {
  const VelocityField straight = [](const at::Tensor& x, double) { return torch::full_like(x, 1e4); };
  const at::Tensor kappa = path_curvature(straight, torch::randn({3, 2, 4, 4}), 128);
  EXPECT_TRUE(kappa.equal(torch::zeros({3}, torch::kDouble)));
}

TEST(Curvature, OfAQuadraticPath) {
  // x_t = z + c (t² - 1): v = 2ct, x_1 - x_0 = c, κ = c² ∫ (2t - 1)² dt = c²/3. Over n steps at t = i/n, i = 1 ... n,
  // the variance of 2ct is c²/3 · (1 - 1/n²).
  const at::Tensor c =
      torch::tensor({1.0, 2.0, -3.0}, torch::kDouble).view({3, 1}) * torch::tensor({1.0, 0.5}, torch::kDouble);
  const VelocityField field = [&](const at::Tensor&, double t) { return 2 * t * c; };
  for (const std::int64_t steps : {4, 128}) {
    const at::Tensor kappa = path_curvature(field, torch::zeros({3, 2}, torch::kDouble), steps);
    const double shrink = 1 - 1.0 / static_cast<double>(steps * steps);
    EXPECT_TRUE(kappa.allclose(c.square().mean(1) / 3 * shrink, 1e-13)) << kappa;
  }
}

TEST(Curvature, KeepsItsDigitsUnderALargeMeanVelocity) {
  const VelocityField field = [](const at::Tensor& x, double t) { return torch::full_like(x, 1e7 + 2 * t); };
  const double kappa = path_curvature(field, torch::zeros({1, 4}, torch::kDouble), 128).item<double>();
  EXPECT_NEAR(kappa, (1 - 1.0 / (128 * 128)) / 3, 1e-8);
}

TEST(Curvature, EqualsTheDefinitionAlongTheStoredPath) {
  const at::Tensor z = torch::randn({5, 7}, torch::kDouble);
  const at::Tensor mix = torch::randn({7, 7}, torch::kDouble) / 3;
  const VelocityField field = [&](const at::Tensor& x, double t) { return x.mm(mix).tanh() * (1 + t) + x; };
  const std::int64_t steps = 16;
  at::Tensor x = z;
  std::vector<at::Tensor> velocities;
  for (std::int64_t i = steps; i > 0; --i) {
    velocities.push_back(field(x, static_cast<double>(i) / steps));
    x = x - velocities.back() / steps;
  }
  const at::Tensor brute = (torch::stack(velocities) - (z - x)).square().mean(0).mean(1);
  EXPECT_TRUE(path_curvature(field, z, steps).allclose(brute, 1e-12, 1e-14));
}

}  // namespace
}  // namespace couplet
