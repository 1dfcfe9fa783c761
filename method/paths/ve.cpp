// The path of exploding variance (VE SDE, arXiv 2011.13456 §3.4 and appendix C): the image stays as it is under noise
// of σ = σ₀ (σ₁/σ₀)^t, and sampling starts from N(0, σ₁² I).
#include "method/paths/path.h"
#include "storage/error.h"

#include <ATen/ATen.h>

#include <cmath>
#include <memory>

namespace couplet {
namespace {

class VePath : public Path {
public:
  VePath(double sigma_min, double sigma_max)
      : sigma_max_(sigma_max), first_log_(std::log(sigma_min)), growth_(std::log(sigma_max) - std::log(sigma_min)) {}

  at::Tensor alpha(const at::Tensor& t) const override { return at::ones_like(t); }
  at::Tensor sigma(const at::Tensor& t) const override { return (first_log_ + growth_ * t).exp(); }
  at::Tensor alpha_slope(const at::Tensor& t) const override { return at::zeros_like(t); }
  at::Tensor sigma_slope(const at::Tensor& t) const override { return growth_ * sigma(t); }

  double prior_scale() const override { return sigma_max_; }
  /// score_sde's ε.
  double first_time() const override { return 1e-5; }

  /// States of images with variance ½ have unit variance then. Their time is ln σ, scaled to [0, 1], as it is.
  at::Tensor state_scale(const at::Tensor& t) const override { return (sigma(t).square() + 0.5).sqrt(); }
  /// Velocities are σ' z, with σ' from 0.09 to 430: networks put out z.
  at::Tensor velocity_scale(const at::Tensor& t) const override { return sigma_slope(t); }

  double time_of_log_ratio(double ratio) const override { return (ratio - first_log_) / growth_; }

private:
  double sigma_max_, first_log_, growth_;
};

std::shared_ptr<const Path> make_ve(const PathOptions& options) {
  if (!(options.ve_sigma_min > 0 && options.ve_sigma_min < options.ve_sigma_max))
    refuse("{0}.ve-sigma-min = {1} and {0}.ve-sigma-max = {2}: σ grows along the path ve, from a positive least",
           options.section, options.ve_sigma_min, options.ve_sigma_max);
  return std::make_shared<VePath>(options.ve_sigma_min, options.ve_sigma_max);
}

}  // namespace

PathKind ve_path() {
  return {.name = "ve",
          .help = "exploding variance, x + σ z: σ grows by powers from student.ve-sigma-min to -max",
          .keys = {"student.ve-sigma-min", "student.ve-sigma-max"},
          .make = make_ve};
}

}  // namespace couplet
