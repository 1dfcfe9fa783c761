// The straight path, x_t = (1 - t) x + t z (NFM, arXiv 2603.09014; rectified flow, arXiv 2209.03003); with σ_min it
// ends in images with a little noise, σ = σ_min + (1 - σ_min) t (flow matching, arXiv 2210.02747 §4.1).
#include "method/paths/path.h"
#include "storage/error.h"

#include <ATen/ATen.h>

#include <cmath>
#include <memory>

namespace couplet {
namespace {

class LinearPath : public Path {
public:
  explicit LinearPath(double sigma_min) : sigma_min_(sigma_min) {}

  at::Tensor alpha(const at::Tensor& t) const override { return 1 - t; }
  at::Tensor sigma(const at::Tensor& t) const override {
    return sigma_min_ == 0 ? t : sigma_min_ + (1 - sigma_min_) * t;
  }
  at::Tensor alpha_slope(const at::Tensor& t) const override { return at::full_like(t, -1); }
  at::Tensor sigma_slope(const at::Tensor& t) const override { return at::full_like(t, 1 - sigma_min_); }

  double time_of_log_ratio(double ratio) const override {
    const double over = std::exp(ratio);
    return (over - sigma_min_) / (1 - sigma_min_ + over);
  }

  at::Tensor state(const at::Tensor& x, const at::Tensor& z, const at::Tensor& t) const override {
    return sigma_min_ == 0 ? at::lerp(x, z, per_row(t, x)) : Path::state(x, z, t);
  }
  at::Tensor velocity(const at::Tensor& x, const at::Tensor& z, const at::Tensor&) const override {
    return sigma_min_ == 0 ? z - x : (1 - sigma_min_) * z - x;
  }

private:
  double sigma_min_;
};

std::shared_ptr<const Path> make_linear(const PathOptions& options) {
  if (!(options.sigma_min >= 0 && options.sigma_min < 1))
    refuse("{}.sigma-min = {}: the noise that is left in the image is from 0 on and below 1, that of t = 1",
           options.section, options.sigma_min);
  return std::make_shared<LinearPath>(options.sigma_min);
}

}  // namespace

PathKind linear_path() {
  return {.name = "linear",
          .help = "the straight path, (1 - t) x + t z; student.sigma-min: noise that is left at t = 0",
          .keys = {"student.sigma-min"},
          .make = make_linear};
}

}  // namespace couplet
