#include "method/paths/path.h"

#include <ATen/ATen.h>

namespace couplet {

at::Tensor Path::state(const at::Tensor& x, const at::Tensor& z, const at::Tensor& t) const {
  return per_row(alpha(t), x) * x + per_row(sigma(t), z) * z;
}

at::Tensor Path::velocity(const at::Tensor& x, const at::Tensor& z, const at::Tensor& t) const {
  return per_row(alpha_slope(t), x) * x + per_row(sigma_slope(t), z) * z;
}

at::Tensor per_row(const at::Tensor& values, const at::Tensor& rows) {
  std::vector<std::int64_t> shape(static_cast<std::size_t>(rows.dim()), 1);
  shape.front() = -1;
  return values.view(shape);
}

}  // namespace couplet
