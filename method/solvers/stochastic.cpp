#include "method/solvers/stochastic.h"

#include "method/solvers/fixed_step.h"
#include "storage/error.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

namespace couplet {
namespace {

constexpr std::array<std::pair<StochasticSolver, std::string_view>, 3> stochastic_names{
    {{StochasticSolver::ancestral, "ancestral"},
     {StochasticSolver::sde, "sde"},
     {StochasticSolver::corrector, "corrector"}}};

/// α up to which a path has forgotten the image; VP with β up to 20 ends at 0.0066.
constexpr double forgotten = 1e-3;
/// Length of a step of Langevin dynamics against its noise (arXiv 2011.13456, appendix G).
constexpr double signal_to_noise = 0.16;

/// One time, in double: coefficients of it, too, are.
at::Tensor double_time(double t, const at::Device& device = at::kCPU) {
  return at::full({1}, t, at::dtype(at::kDouble).device(device));
}

/// A path's coefficients at one time.
struct Coefficients {
  double alpha, sigma;
};

Coefficients coefficients(const Path& path, double t) {
  return {path.alpha(double_time(t)).item<double>(), path.sigma(double_time(t)).item<double>()};
}

/// One path from noise to image under way.
class Walk {
public:
  Walk(const VelocityField& field, const at::Tensor& start, const NoisyPath& along)
      : velocity_(field), along_(along), x_(start) {}

  void ancestral_step(double from, double to);
  void sde_step(double from, double to);
  void correct(double t);
  /// The image that is expected at the state.
  at::Tensor image(double t) { return ask(t).image; }
  std::int64_t evaluations() const { return velocity_.count(); }

private:
  double known(double t) const { return std::clamp(t, along_.first_time, along_.last_time); }
  Expectation ask(double t);
  at::Tensor noise();

  CountedField velocity_;
  const NoisyPath& along_;
  at::Tensor x_, v_;  ///< the state, and the velocity that was asked last
  std::int64_t draws_ = 0;
};

Expectation Walk::ask(double t) {
  v_ = velocity_(x_, known(t));
  return expected(*along_.path, x_, v_, known(t));
}

at::Tensor Walk::noise() {
  const at::Tensor drawn = along_.noise(draws_++);
  if (drawn.sizes() != x_.sizes())
    fail("the noise of a stochastic solver has shape {} for a state of shape {}", fmt::join(drawn.sizes(), "x"),
         fmt::join(x_.sizes(), "x"));
  return drawn.to(x_.options());
}

/// q(x_s | x_t, x) has mean (α_ts σ_s²/σ_t²) x_t + (α_s σ_ts²/σ_t²) x and variance σ_ts² σ_s²/σ_t², where
/// α_ts = α_t/α_s and σ_ts² = σ_t² - α_ts² σ_s². With x_t = α_t x + σ_t z that is α_s x + σ_s (r z + √(1 - r²) ε),
/// r = α_ts σ_s/σ_t: the noise is kept to the share r, and the rest of it is drawn anew.
void Walk::ancestral_step(double from, double to) {
  const Coefficients at_from = coefficients(*along_.path, known(from)), at_to = coefficients(*along_.path, known(to));
  const double kept = at_from.alpha * at_to.sigma / (at_to.alpha * at_from.sigma);
  const Expectation found = ask(from);
  x_ = found.image * at_to.alpha +
       (found.noise * kept + noise() * std::sqrt(std::max(0.0, 1 - kept * kept))) * at_to.sigma;
}

void Walk::sde_step(double from, double to) {
  const double t = known(from), step = t - known(to);
  const double w = diffusion_coefficient(*along_.path, t);
  const Expectation found = ask(from);
  const at::Tensor drift = v_ + found.noise * (0.5 * w / coefficients(*along_.path, t).sigma);
  x_ = x_ - drift * step + noise() * std::sqrt(w * step);
}

/// x + ε score + √(2ε) noise with ε = 2 (r σ)². The published ε is 2 (r ‖noise‖ / ‖score‖)², norms being means over a
/// batch; σ is that quotient where the score is the noise's own, and makes a row independent of the others.
void Walk::correct(double t) {
  const double sigma = coefficients(*along_.path, known(t)).sigma;
  const double step = 2 * signal_to_noise * signal_to_noise * sigma * sigma;
  const Expectation found = ask(t);
  x_ = x_ - found.noise * (step / sigma) + noise() * std::sqrt(2 * step);
}

}  // namespace

std::string_view stochastic_name(StochasticSolver solver) {
  for (const auto& [known, name] : stochastic_names)
    if (known == solver) return name;
  fail("unknown stochastic solver {}", static_cast<int>(solver));
}

std::optional<StochasticSolver> find_stochastic_solver(std::string_view name) {
  for (const auto& [solver, known] : stochastic_names)
    if (known == name) return solver;
  return std::nullopt;
}

std::int64_t stochastic_evaluations(StochasticSolver solver, std::int64_t steps) {
  return solver == StochasticSolver::corrector ? 2 * steps : steps;
}

std::int64_t stochastic_steps(StochasticSolver solver, std::int64_t nfe) {
  const std::string_view name = stochastic_name(solver);
  const std::int64_t least = stochastic_evaluations(solver, 1);
  if (nfe < least) refuse("{} cannot make {} evaluations: the least is {}", name, nfe, least);
  if (nfe > most_draws) refuse("{} makes {} evaluations at most, not {}", name, most_draws, nfe);
  if (nfe % least != 0)
    refuse("{} cannot make exactly {} evaluations (every one of n steps takes two, so NFE = 2n is even): take {} or {}",
           name, nfe, nfe - 1, nfe + 1);
  return nfe / least;
}

Expectation expected(const Path& path, const at::Tensor& x_t, const at::Tensor& velocity, double t) {
  const at::Tensor time = double_time(t, x_t.device());
  const auto type = x_t.scalar_type();
  return {path.image_of(velocity, x_t, time).to(type), path.noise_of(velocity, x_t, time).to(type)};
}

double diffusion_coefficient(const Path& path, double t) {
  // α g² stays finite where α is 0.
  const at::Tensor time = double_time(t);
  const bool remembers = coefficients(path, path.last_time()).alpha > forgotten;
  return (remembers ? path.diffusion(time) : 2 * path.sigma(time) * path.determinant(time)).item<double>();
}

at::Tensor solve_stochastically(const VelocityField& field, const at::Tensor& start, StochasticSolver solver,
                                const std::vector<double>& times, const NoisyPath& along) {
  require_times(times);
  if (!along.path || !along.noise)
    fail("{} needs the path that the velocity was learnt along, and noise", stochastic_name(solver));
  const at::NoGradGuard no_grad;
  Walk walk(field, start, along);
  at::Tensor image;
  for (std::size_t i = times.size() - 1; i > 0; --i) {
    if (solver == StochasticSolver::corrector) walk.correct(times[i]);
    if (i == 1)
      image = walk.image(times[1]);
    else if (solver == StochasticSolver::ancestral)
      walk.ancestral_step(times[i], times[i - 1]);
    else
      walk.sde_step(times[i], times[i - 1]);
  }
  const std::int64_t expected_count = stochastic_evaluations(solver, static_cast<std::int64_t>(times.size()) - 1);
  if (walk.evaluations() != expected_count)
    fail("{} made {} evaluations of the field instead of {}", stochastic_name(solver), walk.evaluations(),
         expected_count);
  return image;
}

}  // namespace couplet
