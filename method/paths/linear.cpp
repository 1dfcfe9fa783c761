// The straight path, x_t = (1 - t) x + t z (NFM, arXiv 2603.09014; rectified flow, arXiv 2209.03003).
#include "method/paths/path.h"

#include <ATen/ATen.h>

namespace couplet {
namespace {

class LinearPath : public Path {
public:
  at::Tensor alpha(const at::Tensor& t) const override { return 1 - t; }
  at::Tensor sigma(const at::Tensor& t) const override { return t; }
  at::Tensor alpha_slope(const at::Tensor& t) const override { return at::full_like(t, -1); }
  at::Tensor sigma_slope(const at::Tensor& t) const override { return at::ones_like(t); }

  at::Tensor state(const at::Tensor& x, const at::Tensor& z, const at::Tensor& t) const override {
    return at::lerp(x, z, per_row(t, x));
  }
  at::Tensor velocity(const at::Tensor& x, const at::Tensor& z, const at::Tensor&) const override { return z - x; }
};

}  // namespace

PathKind linear_path() {
  return {.name = "linear",
          .help = "the straight path, (1 - t) x + t z",
          .make = [](const PathOptions&) -> std::shared_ptr<const Path> { return std::make_shared<LinearPath>(); }};
}

}  // namespace couplet
