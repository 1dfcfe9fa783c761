// Solvers against closed forms: fields whose flow is known, evaluations counted.
#include "method/solvers/fixed_step.h"

#include "method/solvers/integration.h"
#include "pipeline/liveness/activity.h"

#include "storage/error.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <chrono>
#include <cmath>
#include <functional>
#include <string>
#include <thread>
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
  for (const char* name : {"euler", "midpoint", "heun", "heun-full", "rk4"})
    EXPECT_EQ(solver_name(parse_solver(name)), name);
  for (const char* name : {"uniform", "squared"}) EXPECT_EQ(grid_name(parse_grid(name)), name);
  EXPECT_NE(refusal([] { parse_solver("rk9"); }).find("heun-full"), std::string::npos);
  EXPECT_NE(refusal([] { parse_grid("cubic"); }).find("squared"), std::string::npos);
}

// dx/dt = rate · x, whose mean velocity over a span d is x (1 - e^(-rate d)) / d.
TEST(Solver, EulerMakesExactStepsWithAFlowMap) {
  constexpr double rate = 1.7;
  std::vector<double> spans;
  const VelocityField map = [&](const at::Tensor& x, double, double span) {
    spans.push_back(span);
    return x * (span == 0 ? rate : -std::expm1(-rate * span) / span);
  };
  const at::Tensor z = torch::randn({3, 2}, torch::kFloat64), exact = z * std::exp(-rate);
  for (const std::int64_t nfe : {1, 2, 4})
    for (const Grid grid : {Grid::uniform, Grid::squared}) {
      spans.clear();
      EXPECT_TRUE(solve(map, z, Solver::euler, grid, nfe).allclose(exact, 1e-12, 1e-12)) << nfe;
      double sum = 0;
      for (const double span : spans) sum += span;
      EXPECT_EQ(std::ssize(spans), nfe);
      EXPECT_NEAR(sum, 1, 1e-12);
    }
  // Others follow the velocity: the same as of a field that knows nothing else.
  const VelocityField plain = linear_field(rate);
  EXPECT_EQ(map(z, 0.5).sub(plain(z, 0.5)).abs().max().item<double>(), 0);
  for (const auto& [solver, nfe] : {std::pair{Solver::heun, 1},
                                    {Solver::heun, 5},
                                    {Solver::midpoint, 4},
                                    {Solver::heun_full, 4},
                                    {Solver::rk4, 8}}) {
    spans.clear();
    EXPECT_TRUE(solve(map, z, solver, Grid::uniform, nfe).equal(solve(plain, z, solver, Grid::uniform, nfe)));
    for (const double span : spans) EXPECT_EQ(span, 0) << solver_name(solver);
  }
  // A field without a map is asked for its velocity, whatever the span.
  EXPECT_FALSE(solve(plain, z, Solver::euler, Grid::uniform, 1).allclose(exact, 1e-2, 1e-2));
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
  EXPECT_EQ(solver_steps(Solver::midpoint, 6), 3);
  EXPECT_EQ(solver_steps(Solver::rk4, 12), 3);
  const std::string between = refusal([] { solver_steps(Solver::rk4, 10); });
  EXPECT_NE(between.find("take 8 or 12"), std::string::npos) << between;
  EXPECT_NE(refusal([] { solver_steps(Solver::midpoint, 5); }).find("take 4 or 6"), std::string::npos);
  EXPECT_NE(refusal([] { solver_steps(Solver::rk4, 3); }).find("the least is 4"), std::string::npos);
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
  for (const auto& [solver, nfe] : {std::pair{Solver::euler, 5},
                                    {Solver::heun, 1},
                                    {Solver::heun, 9},
                                    {Solver::heun_full, 6},
                                    {Solver::midpoint, 4},
                                    {Solver::rk4, 8}}) {
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
  // On a linear field every method of second order has the same factor; rk4's is the exponential's first five terms.
  EXPECT_NEAR(factor(Solver::midpoint, Grid::uniform, 8), std::pow(step, 4), 1e-15);
  const double h = rate / 2;
  EXPECT_NEAR(factor(Solver::rk4, Grid::uniform, 8),
              std::pow(1 - h + h * h / 2 - h * h * h / 6 + std::pow(h, 4) / 24, 2), 1e-15);
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
    EXPECT_NEAR(std::log2(error(Solver::midpoint, grid, 256) / error(Solver::midpoint, grid, 512)), 2, 0.02);
    EXPECT_NEAR(std::log2(error(Solver::rk4, grid, 16) / error(Solver::rk4, grid, 32)), 4, 0.2);
  }
  // The Euler step into t = 0 costs a local error of second order: with 1/n steps the order stays 2.
  EXPECT_NEAR(std::log2(error(Solver::heun, Grid::uniform, 256) / error(Solver::heun, Grid::uniform, 512)), 2, 0.05);
}

TEST(Solver, MidpointAndHeunDifferWhereTheFieldBends) {
  // v = t²: exactly x(0) = -1/3. One step: midpoint takes v(½) = 1/4, Heun (v(1) + v(0)) / 2 = 1/2, rk4 Simpson's rule.
  const VelocityField field = [](const at::Tensor& x, double t) { return torch::full_like(x, t * t); };
  const at::Tensor z = torch::zeros({1, 1}, torch::kDouble);
  EXPECT_NEAR(solve(field, z, Solver::midpoint, Grid::uniform, 2).item<double>(), -0.25, 1e-15);
  EXPECT_NEAR(solve(field, z, Solver::heun_full, Grid::uniform, 2).item<double>(), -0.5, 1e-15);
  EXPECT_NEAR(solve(field, z, Solver::rk4, Grid::uniform, 4).item<double>(), -1.0 / 3, 1e-15);
}

TEST(Solver, TakesTimesOfTheUsersOwn) {
  const VelocityField field = [](const at::Tensor& x, double t) { return torch::full_like(x, t); };
  const at::Tensor z = torch::zeros({1, 1}, torch::kDouble);
  const Integration given = timed_integration(Solver::euler, {0, 0.25, 1});
  EXPECT_EQ(given.nfe(), 2);
  EXPECT_EQ(given.grid, "0 0.25 1");
  EXPECT_NEAR(integrate(field, z, given).x.item<double>(), -(1 * 0.75 + 0.25 * 0.25), 1e-15);
  EXPECT_NE(refusal([] { timed_integration(Solver::heun, {0, 0.5, 0.9}); }).find("0.9"), std::string::npos);
  EXPECT_NE(refusal([] { timed_integration(Solver::heun, {0, std::nan(""), 1}); }), "");
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

// On 10a555e a rank gave no sign of progress while it made a slice of samples, however long that took: the others, done
// with theirs, ended it when pipeline.timeout was over.
TEST(Solver, EveryEvaluationIsASignOfProgress) {
  const double long_ago = 0.5;
  std::this_thread::sleep_for(std::chrono::duration<double>(long_ago));
  EXPECT_GE(current_activity().seconds, long_ago);
  const VelocityField field = [&](const at::Tensor& x, double) {
    EXPECT_LT(current_activity().seconds, long_ago);
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    return x;
  };
  solve(field, torch::zeros({1, 1}), Solver::euler, Grid::uniform, 3);
}

}  // namespace
}  // namespace couplet
