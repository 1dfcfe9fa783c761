// The path of constant variance with the cosine schedule (Nichol and Dhariwal, arXiv 2102.09672 §3.2, in continuous
// time): α² = f(t) / f(0), f(t) = cos²((t + s) / (1 + s) · π/2).
#include "method/paths/path.h"

#include <ATen/ATen.h>

#include <cmath>
#include <memory>
#include <numbers>

namespace couplet {
namespace {

/// Sums of angles keep the digits that differences of squares would lose near both ends.
class VpCosinePath : public Path {
public:
  at::Tensor alpha(const at::Tensor& t) const override { return (turn * (1 - t)).sin() / first_cosine; }
  at::Tensor sigma(const at::Tensor& t) const override {
    return ((turn * t).sin() * (turn * (t + 2 * offset)).sin()).sqrt() / first_cosine;
  }
  at::Tensor alpha_slope(const at::Tensor& t) const override {
    return -turn * (turn * (t + offset)).sin() / first_cosine;
  }
  at::Tensor sigma_slope(const at::Tensor& t) const override { return -alpha(t) * alpha_slope(t) / sigma(t); }

  /// dσ/dt is infinite at t = 0.
  double first_time() const override { return 1e-5; }

  double time_of_log_ratio(double ratio) const override {
    return std::acos(first_cosine / std::hypot(1, std::exp(ratio))) / turn - offset;
  }

private:
  static constexpr double offset = 0.008;                              ///< s
  static constexpr double turn = std::numbers::pi / 2 / (1 + offset);  ///< angle a unit of time
  const double first_cosine = std::cos(offset * turn);                 ///< √f(0)
};

}  // namespace

PathKind vp_cosine_path() {
  return {.name = "vp-cosine",
          .help = "constant variance with the cosine schedule, cos²((t + 0.008) / 1.008 · π/2)",
          .make = [](const PathOptions&) -> std::shared_ptr<const Path> { return std::make_shared<VpCosinePath>(); }};
}

}  // namespace couplet
