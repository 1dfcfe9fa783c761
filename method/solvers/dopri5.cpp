#include "method/solvers/dopri5.h"

#include "method/solvers/velocity_field.h"
#include "storage/error.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

namespace couplet {
namespace {

constexpr std::int64_t most_evaluations = 100000;
constexpr double safety = 0.9, largest_growth = 10, largest_cut = 0.2;
constexpr double method_order = 5;
constexpr double shortest_step = 1e-9;  ///< of the way: what fails even then is not a matter of the step

/// Times and weights of the stages (Dormand and Prince 1980, RK5(4)7M). The last row gives the state at the step's end.
constexpr std::array<double, 6> stage_times{1.0 / 5, 3.0 / 10, 4.0 / 5, 8.0 / 9, 1, 1};
constexpr std::array<std::array<double, 6>, 6> stage_weights{
    {{1.0 / 5},
     {3.0 / 40, 9.0 / 40},
     {44.0 / 45, -56.0 / 15, 32.0 / 9},
     {19372.0 / 6561, -25360.0 / 2187, 64448.0 / 6561, -212.0 / 729},
     {9017.0 / 3168, -355.0 / 33, 46732.0 / 5247, 49.0 / 176, -5103.0 / 18656},
     {35.0 / 384, 0, 500.0 / 1113, 125.0 / 192, -2187.0 / 6784, 11.0 / 84}}};
/// Weights of fifth order less those of Shampine's fourth-order formula (Some practical Runge-Kutta formulas, 1986),
/// which torchdiffeq has in place of the one of Dormand and Prince: it finds about half the error.
constexpr std::array<double, 7> error_weights{35.0 / 384 - 1951.0 / 21600,
                                              0,
                                              500.0 / 1113 - 22642.0 / 50085,
                                              125.0 / 192 - 451.0 / 720,
                                              -2187.0 / 6784 + 12231.0 / 42400,
                                              11.0 / 84 - 649.0 / 6300,
                                              -1.0 / 60};

template <std::size_t n>
at::Tensor weighted(const std::vector<at::Tensor>& slopes, const std::array<double, n>& weights, double dt) {
  at::Tensor sum = slopes.front() * (weights.front() * dt);
  for (std::size_t i = 1; i < slopes.size(); ++i) {
    if (weights[i] != 0) sum = sum.add(slopes[i], weights[i] * dt);
  }
  return sum;
}

/// An integration from one time to another: what is known at the point reached so far.
class AdaptiveIntegration {
public:
  AdaptiveIntegration(const VelocityField& field, const at::Tensor& start, double from, double to,
                      const Tolerance& tolerance, const ErrorNorm& norm)
      : velocity_(field), tolerance_(tolerance), norm_(norm), x_(start), t_(from), to_(to), length_(to - from) {
    slope_ = velocity_(x_, t_);
    dt_ = first_step();
  }

  bool arrived() const { return t_ == to_; }

  /// One step, made or rejected; chooses the next one's length.
  void advance() {
    const bool last = std::abs(to_ - t_) <= std::abs(dt_) * (1 + 1e-9);
    const double dt = last ? to_ - t_ : dt_, next = last ? to_ : t_ + dt;
    std::vector<at::Tensor> slopes{slope_};
    at::Tensor x;
    for (std::size_t i = 0; i < stage_weights.size(); ++i) {
      x = x_ + weighted(slopes, stage_weights[i], dt);
      slopes.push_back(velocity_(x, i + 1 < stage_weights.size() ? t_ + stage_times[i] * dt : next));
    }
    const double error = norm_of(weighted(slopes, error_weights, dt) / allowed(at::maximum(x_.abs(), x.abs())));
    const bool accepted = error <= 1 || std::abs(dt) <= shortest_step * std::abs(length_);
    dt_ = dt * factor(error);
    if (!accepted) {
      ++rejected_;
      return;
    }
    ++steps_;
    x_ = x;
    slope_ = slopes.back();
    t_ = next;
  }

  double time() const { return t_; }
  std::int64_t evaluations() const { return velocity_.count(); }
  AdaptiveSolution solution() const { return {x_, velocity_.count(), steps_, rejected_}; }

private:
  at::Tensor allowed(const at::Tensor& magnitude) const {
    return magnitude * tolerance_.relative + tolerance_.absolute;
  }

  /// The norm over the rows that are finite where the step starts.
  double norm_of(const at::Tensor& errors) const {
    const at::Tensor finite = x_.flatten(1).isfinite().all(1) & slope_.flatten(1).isfinite().all(1);
    if (finite.all().item<bool>()) return norm_(errors);
    const at::Tensor rows = errors.index_select(0, finite.nonzero().flatten());
    return rows.size(0) == 0 ? 0 : norm_(rows);
  }

  static double factor(double error) {
    if (error == 0) return largest_growth;
    if (!std::isfinite(error)) return largest_cut;
    return std::min(largest_growth, std::max(safety / std::pow(error, 1 / method_order), error < 1 ? 1 : largest_cut));
  }

  /// Hairer, Nørsett and Wanner, Solving Ordinary Differential Equations I, II.4, as torchdiffeq has it.
  double first_step() {
    const at::Tensor scale = allowed(x_.abs());
    const double d0 = norm_of(x_ / scale), d1 = norm_of(slope_ / scale);
    const double h0 = d0 < 1e-5 || d1 < 1e-5 ? 1e-6 : 0.01 * d0 / d1;
    const double direction = length_ < 0 ? -1 : 1;
    const at::Tensor there = velocity_(x_ + slope_ * (direction * h0), t_ + direction * h0);
    const double d2 = norm_of((there - slope_) / scale) / h0;
    const double h1 =
        d1 <= 1e-15 && d2 <= 1e-15 ? std::max(1e-6, h0 * 1e-3) : std::pow(0.01 / std::max(d1, d2), 1 / method_order);
    return direction * std::min({100 * h0, h1, std::abs(length_)});
  }

  CountedField velocity_;
  const Tolerance& tolerance_;
  const ErrorNorm& norm_;
  at::Tensor x_, slope_;  ///< the state and the field there
  double t_, to_, length_, dt_ = 0;
  std::int64_t steps_ = 0, rejected_ = 0;
};

}  // namespace

double rms_norm(const at::Tensor& errors) {
  const double mean = errors.to(at::kDouble).square().mean().item<double>();
  return std::isfinite(mean) ? std::sqrt(mean) : std::numeric_limits<double>::infinity();
}

AdaptiveSolution solve_adaptively(const VelocityField& field, const at::Tensor& start, double from, double to,
                                  const Tolerance& tolerance, const ErrorNorm& norm) {
  if (!(tolerance.absolute > 0) || !(tolerance.relative >= 0)) {
    refuse("dopri5 with atol = {} and rtol = {}: atol is above 0, rtol at least 0", tolerance.absolute,
           tolerance.relative);
  }
  if (from == to) return {start, 0, 0, 0};
  const at::NoGradGuard no_grad;
  AdaptiveIntegration integration(field, start, from, to, tolerance, norm);
  while (!integration.arrived()) {
    if (integration.evaluations() >= most_evaluations) {
      fail("dopri5 made {} evaluations of the field and has come from t = {} to {} only: take larger atol and rtol",
           integration.evaluations(), from, integration.time());
    }
    integration.advance();
  }
  return integration.solution();
}

}  // namespace couplet
