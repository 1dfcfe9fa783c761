// The path of constant variance along which diffusion models are trained (VP SDE, arXiv 2011.13456 §3.4 and appendix
// C): α = e^(-T/2), σ² = 1 - e^(-T), T = β₀ t + ½ (β₁ - β₀) t².
#include "method/paths/path.h"
#include "storage/error.h"

#include <ATen/ATen.h>

#include <cmath>
#include <memory>

namespace couplet {
namespace {

class VpPath : public Path {
public:
  VpPath(double beta_min, double beta_max) : beta_min_(beta_min), growth_(beta_max - beta_min) {}

  at::Tensor alpha(const at::Tensor& t) const override { return (-0.5 * integral(t)).exp(); }
  /// 1 - e^(-T) itself would be off by some percent in float32 near the first time.
  at::Tensor sigma(const at::Tensor& t) const override { return (-integral(t)).expm1().neg().sqrt(); }
  at::Tensor alpha_slope(const at::Tensor& t) const override { return -0.5 * beta(t) * alpha(t); }
  at::Tensor sigma_slope(const at::Tensor& t) const override { return 0.5 * beta(t) * alpha(t).square() / sigma(t); }

  /// dσ/dt is infinite at t = 0. score_sde's ε of training and likelihood.
  double first_time() const override { return 1e-5; }

  /// σ²/α² = e^T - 1, and T is a polynomial.
  double time_of_log_ratio(double ratio) const override {
    const double integral = std::log1p(std::exp(2 * ratio));
    return 2 * integral / (std::sqrt(beta_min_ * beta_min_ + 2 * growth_ * integral) + beta_min_);
  }

private:
  at::Tensor beta(const at::Tensor& t) const { return beta_min_ + growth_ * t; }
  at::Tensor integral(const at::Tensor& t) const { return t * (beta_min_ + 0.5 * growth_ * t); }

  double beta_min_, growth_;
};

std::shared_ptr<const Path> make_vp(const PathOptions& options) {
  if (!(options.vp_beta_min > 0 && options.vp_beta_min < options.vp_beta_max))
    refuse("{0}.vp-beta-min = {1} and {0}.vp-beta-max = {2}: β grows along the path vp, from a positive least",
           options.section, options.vp_beta_min, options.vp_beta_max);
  return std::make_shared<VpPath>(options.vp_beta_min, options.vp_beta_max);
}

}  // namespace

PathKind vp_path() {
  return {.name = "vp",
          .help = "constant variance, as diffusion models are trained: β grows from student.vp-beta-min to -max",
          .keys = {"student.vp-beta-min", "student.vp-beta-max"},
          .make = make_vp};
}

}  // namespace couplet
