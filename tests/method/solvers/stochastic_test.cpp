// Stochastic solvers on Gaussian data, whose velocity, image and noise along any path are known exactly.
#include "method/solvers/stochastic.h"

#include "method/sampling/initial_noise.h"
#include "method/solvers/integration.h"

#include "storage/error.h"

#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace couplet {
namespace {

/// α = exp(-T/2), σ² = 1 - exp(-T), T = β₀t + ½(β₁ - β₀)t².
class VariancePreserving : public Path {
public:
  at::Tensor alpha(const at::Tensor& t) const override { return (-0.5 * total(t)).exp(); }
  at::Tensor sigma(const at::Tensor& t) const override { return (-(-total(t)).expm1()).sqrt(); }
  at::Tensor alpha_slope(const at::Tensor& t) const override { return -0.5 * rate(t) * alpha(t); }
  at::Tensor sigma_slope(const at::Tensor& t) const override { return 0.5 * rate(t) * alpha(t).square() / sigma(t); }
  double first_time() const override { return 1e-5; }

  static at::Tensor rate(const at::Tensor& t) { return 0.1 + 19.9 * t; }

private:
  static at::Tensor total(const at::Tensor& t) { return 0.1 * t + 0.5 * 19.9 * t.square(); }
};

/// α = 1, σ from 0.01 to 50 in equal factors.
class VarianceExploding : public Path {
public:
  at::Tensor alpha(const at::Tensor& t) const override { return at::ones_like(t); }
  at::Tensor sigma(const at::Tensor& t) const override { return 0.01 * (growth() * t).exp(); }
  at::Tensor alpha_slope(const at::Tensor& t) const override { return at::zeros_like(t); }
  at::Tensor sigma_slope(const at::Tensor& t) const override { return growth() * sigma(t); }
  double prior_scale() const override { return 50; }

  static double growth() { return std::log(5000.0); }
};

struct NamedPath {
  std::string name;
  std::shared_ptr<const Path> path;
};

std::vector<NamedPath> paths() {
  return {{"linear", find_path("linear").make({})},
          {"vp", std::make_shared<VariancePreserving>()},
          {"ve", std::make_shared<VarianceExploding>()}};
}

constexpr std::int64_t dimension = 3;

at::Tensor data_mean() {
  return torch::tensor({0.5, -1.0, 0.25}, torch::kDouble);
}
at::Tensor data_covariance() {
  return torch::tensor({{1.0, 0.6, 0.0}, {0.6, 0.5, -0.1}, {0.0, -0.1, 0.3}}, torch::kDouble);
}

/// x ~ N(m, C): E[x | x_t] = m + αC S⁻¹ (x_t - αm) and E[z | x_t] = σ S⁻¹ (x_t - αm), S = α²C + σ²I.
VelocityField gaussian_field(const std::shared_ptr<const Path>& path, std::vector<double>* times = nullptr) {
  return [=](const at::Tensor& x, double t) {
    if (times) times->push_back(t);
    const at::Tensor time = torch::full({1}, t, torch::kDouble);
    const at::Tensor alpha = path->alpha(time), sigma = path->sigma(time);
    const at::Tensor spread = alpha.square() * data_covariance() + sigma.square() * torch::eye(dimension, at::kDouble);
    const at::Tensor white = (x - alpha * data_mean()).matmul(at::linalg_inv(spread));
    const at::Tensor image = data_mean() + alpha * white.matmul(data_covariance());
    return path->alpha_slope(time) * image + path->sigma_slope(time) * sigma * white;
  };
}

NoisyPath noisy(const std::shared_ptr<const Path>& path, const at::Tensor& z, std::int64_t first = 0) {
  return {path, path->first_time(), path->last_time(), solver_noise(z, 7, first)};
}

at::Tensor first_noise(std::int64_t rows) {
  torch::manual_seed(5);
  return torch::randn({rows, dimension}, torch::kDouble);
}

std::string refusal(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

constexpr StochasticSolver all_solvers[] = {StochasticSolver::ancestral, StochasticSolver::sde,
                                            StochasticSolver::corrector};

TEST(Stochastic, NamesRoundTrip) {
  for (const StochasticSolver solver : all_solvers) EXPECT_EQ(find_stochastic_solver(stochastic_name(solver)), solver);
  EXPECT_EQ(find_stochastic_solver("euler"), std::nullopt);
}

TEST(Stochastic, StepsSpendTheEvaluationsExactly) {
  EXPECT_EQ(stochastic_steps(StochasticSolver::ancestral, 7), 7);
  EXPECT_EQ(stochastic_steps(StochasticSolver::sde, 1), 1);
  EXPECT_EQ(stochastic_steps(StochasticSolver::corrector, 8), 4);
  EXPECT_NE(refusal([] { stochastic_steps(StochasticSolver::corrector, 7); }).find("take 6 or 8"), std::string::npos);
  EXPECT_NE(refusal([] { stochastic_steps(StochasticSolver::corrector, 1); }).find("the least is 2"),
            std::string::npos);
  EXPECT_NE(refusal([] { stochastic_steps(StochasticSolver::sde, 0); }).find("the least is 1"), std::string::npos);
  EXPECT_NE(refusal([] { stochastic_steps(StochasticSolver::sde, most_draws + 1); }).find("at most"),
            std::string::npos);
}

TEST(Stochastic, AVelocitySaysWhichImageAndNoise) {
  torch::manual_seed(1);
  const at::Tensor x = torch::randn({4, dimension}, torch::kDouble), z = torch::randn({4, dimension}, torch::kDouble);
  for (const auto& [name, path] : paths()) {
    for (const double t : {0.001, 0.3, 0.7, 1.0}) {
      const at::Tensor times = torch::full({4}, t, torch::kDouble);
      const Expectation found = expected(*path, path->state(x, z, times), path->velocity(x, z, times), t);
      EXPECT_TRUE(found.image.allclose(x, 1e-9, 1e-9)) << name << " at " << t;
      EXPECT_TRUE(found.noise.allclose(z, 1e-9, 1e-9)) << name << " at " << t;
    }
  }
}

TEST(Stochastic, DiffusesAsThePathDoesWhereThatIsFinite) {
  for (const double t : {0.1, 0.5, 0.9}) {
    const at::Tensor time = torch::full({1}, t, torch::kDouble);
    EXPECT_NEAR(diffusion_coefficient(*find_path("linear").make({}), t), 2 * t, 1e-12);
    EXPECT_NEAR(diffusion_coefficient(VariancePreserving(), t), VariancePreserving::rate(time).item<double>(), 1e-9);
    const double sigma = VarianceExploding().sigma(time).item<double>();
    EXPECT_NEAR(diffusion_coefficient(VarianceExploding(), t) / (2 * sigma * sigma * VarianceExploding::growth()), 1,
                1e-12);
  }
}

TEST(Stochastic, TwoStepsAreWhatTheFormulasSay) {
  const auto linear = find_path("linear").make({});
  // The velocity of the one image m: E[x | x_t] = m everywhere.
  const VelocityField field = [](const at::Tensor& x, double t) { return (x - data_mean()) / t; };
  const at::Tensor z = first_noise(2), first = torch::full({2, dimension}, 0.3, torch::kDouble);
  std::vector<at::Tensor> asked;
  const VelocityField kept = [&](const at::Tensor& x, double t) {
    asked.push_back(x);
    return field(x, t);
  };
  const NoisyPath along{linear, 0, 1, [&](std::int64_t) { return first; }};
  const auto state = [&](StochasticSolver solver) {
    asked.clear();
    const at::Tensor x = solve_stochastically(kept, z, solver, {0, 0.4, 1}, along);
    EXPECT_TRUE(x.allclose(data_mean().expand_as(x), 1e-12, 1e-12));
    return asked.back();
  };
  // α(1) = 0: nothing of the noise is kept.
  EXPECT_TRUE(state(StochasticSolver::ancestral).allclose(0.6 * data_mean() + 0.4 * first, 1e-12, 1e-12));
  // v = z - m, w = 2: x - 0.6 (v + z) + √1.2 ε.
  EXPECT_TRUE(
      state(StochasticSolver::sde).allclose(z - 0.6 * (2 * z - data_mean()) + std::sqrt(1.2) * first, 1e-12, 1e-12));
  // Langevin at t = 1, ε = 2 · 0.16², then the same step, then Langevin at 0.4, whose ε is 0.4² times that.
  const double step = 2 * 0.16 * 0.16;
  const at::Tensor corrected = z * (1 - step) + std::sqrt(2 * step) * first;
  const at::Tensor stepped = corrected - 0.6 * (2 * corrected - data_mean()) + std::sqrt(1.2) * first;
  const at::Tensor noise = (stepped - 0.6 * data_mean()) / 0.4;
  EXPECT_TRUE(state(StochasticSolver::corrector)
                  .allclose(stepped - 0.4 * step * noise + 0.4 * std::sqrt(2 * step) * first, 1e-12, 1e-12));
}

TEST(Stochastic, KeepsNoiseAsTheAncestralPosteriorDoes) {
  // Mean and variance of q(x_s | x_t, x) as DDPM writes them, of β = 1 - α_t²/α_s².
  const VariancePreserving path;
  const auto at = [](const at::Tensor& value) { return value.item<double>(); };
  const at::Tensor t = torch::full({1}, 0.5, torch::kDouble), s = torch::full({1}, 0.45, torch::kDouble);
  const double bar_t = std::pow(at(path.alpha(t)), 2), bar_s = std::pow(at(path.alpha(s)), 2), beta = 1 - bar_t / bar_s;
  const at::Tensor z = first_noise(3), mean = data_mean();
  std::vector<at::Tensor> states;
  const VelocityField field = [&](const at::Tensor& x, double time) {
    states.push_back(x);
    const at::Tensor now = torch::full({1}, time, torch::kDouble);
    return path.alpha_slope(now) * mean + path.sigma_slope(now) * (x - path.alpha(now) * mean) / path.sigma(now);
  };
  const at::Tensor noise = torch::full({3, dimension}, -0.7, torch::kDouble);
  const NoisyPath along{std::make_shared<VariancePreserving>(), 1e-5, 1, [&](std::int64_t) { return noise; }};
  solve_stochastically(field, z, StochasticSolver::ancestral, {0, 0.45, 0.5, 1}, along);
  const at::Tensor expected_state = std::sqrt(bar_s) * beta / (1 - bar_t) * mean +
                                    std::sqrt(1 - beta) * (1 - bar_s) / (1 - bar_t) * states[1] +
                                    std::sqrt(beta * (1 - bar_s) / (1 - bar_t)) * noise;
  EXPECT_TRUE(states[2].allclose(expected_state, 1e-10, 1e-10));
}

TEST(Stochastic, ReproducesGaussianData) {
  constexpr std::int64_t rows = 4000, steps = 200;
  const at::Tensor z = first_noise(rows);
  const at::Tensor covariance = data_covariance(), variance = covariance.diagonal();
  const at::Tensor mean_error = (variance / rows).sqrt();
  const at::Tensor covariance_error = ((at::outer(variance, variance) + covariance.square()) / rows).sqrt();
  for (const auto& [name, path] : paths()) {
    for (const StochasticSolver solver : all_solvers) {
      const Integration integration =
          stochastic_integration(solver, Grid::uniform, stochastic_evaluations(solver, steps));
      torch::manual_seed(11);
      const NoisyPath along{path, path->first_time(), path->last_time(),
                            [&](std::int64_t) { return torch::randn_like(z); }};
      const at::Tensor x = integrate(gaussian_field(path), z * path->prior_scale(), integration, along).x;
      const at::Tensor off = (x.mean(0) - data_mean()) / mean_error;
      const at::Tensor spread = (at::cov(x.t()) - covariance) / covariance_error;
      EXPECT_LT(off.abs().max().item<double>(), 3) << name << ' ' << integration.text() << '\n' << off;
      EXPECT_LT(spread.abs().max().item<double>(), 3) << name << ' ' << integration.text() << '\n' << spread;
    }
  }
}

TEST(Stochastic, AsksWithinTheTimesThatAreKnownAndEndsFinite) {
  for (const auto& [name, path] : paths()) {
    for (const StochasticSolver solver : all_solvers) {
      for (const std::int64_t steps : {1, 2, 5}) {
        std::vector<double> times;
        const std::int64_t nfe = stochastic_evaluations(solver, steps);
        const Integration integration = stochastic_integration(solver, Grid::squared, nfe);
        const at::Tensor z = first_noise(4);
        const Integrated made =
            integrate(gaussian_field(path, &times), z * path->prior_scale(), integration, noisy(path, z));
        EXPECT_TRUE(made.x.isfinite().all().item<bool>()) << name << ' ' << integration.text();
        EXPECT_EQ(made.nfe, nfe);
        EXPECT_EQ(std::ssize(times), nfe);
        for (const double t : times) EXPECT_TRUE(t >= path->first_time() && t <= path->last_time()) << t;
      }
    }
  }
}

TEST(Stochastic, ARowsSampleDoesNotDependOnTheOthers) {
  const at::Tensor z = first_noise(10);
  const auto path = find_path("linear").make({});
  for (const StochasticSolver solver : all_solvers) {
    const auto part = [&](std::int64_t first, std::int64_t count) {
      const at::Tensor start = z.narrow(0, first, count);
      return integrate(gaussian_field(path), start, stochastic_integration(solver, Grid::uniform, 6),
                       noisy(path, start, first))
          .x;
    };
    const at::Tensor whole = part(0, 10);
    EXPECT_TRUE(at::cat({part(0, 3), part(3, 7)}).allclose(whole, 1e-12, 1e-12)) << stochastic_name(solver);
    EXPECT_FALSE(part(0, 1).allclose(integrate(gaussian_field(path), z.narrow(0, 0, 1),
                                               stochastic_integration(solver, Grid::uniform, 6),
                                               noisy(path, z.narrow(0, 0, 1), 1))
                                         .x));
  }
}

TEST(Stochastic, DrawsAreFunctionsOfSampleAndNumber) {
  const at::Tensor z = first_noise(6);
  const SolverNoise all = solver_noise(z, 3, 0), tail = solver_noise(z.narrow(0, 4, 2), 3, 4);
  EXPECT_TRUE(all(5).narrow(0, 4, 2).equal(tail(5)));
  EXPECT_FALSE(all(5).equal(all(6)));
  EXPECT_FALSE(all(5).equal(solver_noise(z, 4, 0)(5)));
  EXPECT_EQ(all(0).scalar_type(), torch::kDouble);
  EXPECT_THROW(all(most_draws), Error);
}

TEST(Stochastic, NeedsAPathAndNoiseOfTheStatesShape) {
  const at::Tensor z = first_noise(2);
  const auto path = find_path("linear").make({});
  const Integration integration = timed_integration(StochasticSolver::sde, {0, 0.5, 1});
  EXPECT_EQ(integration.name(), "sde");
  EXPECT_EQ(integration.nfe(), 2);
  EXPECT_NE(refusal([&] { integrate(gaussian_field(path), z, integration); }).find("sde needs the path"),
            std::string::npos);
  const NoisyPath wrong{path, 0, 1, [](std::int64_t) { return torch::ones({3}); }};
  EXPECT_NE(refusal([&] { integrate(gaussian_field(path), z, integration, wrong); }).find("shape 3"),
            std::string::npos);
}

}  // namespace
}  // namespace couplet
