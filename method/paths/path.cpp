#include "method/paths/path.h"

#include <ATen/ATen.h>

#include <cmath>

namespace couplet {

at::Tensor Path::state_scale(const at::Tensor&) const {
  return {};
}

at::Tensor Path::velocity_scale(const at::Tensor&) const {
  return {};
}

double Path::log_ratio(double t) const {
  const at::Tensor time = at::full({1}, t, at::kDouble);
  return std::log(sigma(time).item<double>() / alpha(time).item<double>());
}

double Path::time_of_log_ratio(double ratio) const {
  double below = first_time(), above = last_time();
  while (true) {
    const double middle = 0.5 * (below + above);
    if (middle <= below || middle >= above) return middle;
    (log_ratio(middle) < ratio ? below : above) = middle;
  }
}

at::Tensor Path::state(const at::Tensor& x, const at::Tensor& z, const at::Tensor& t) const {
  return per_row(alpha(t), x) * x + per_row(sigma(t), z) * z;
}

at::Tensor Path::velocity(const at::Tensor& x, const at::Tensor& z, const at::Tensor& t) const {
  return per_row(alpha_slope(t), x) * x + per_row(sigma_slope(t), z) * z;
}

at::Tensor Path::determinant(const at::Tensor& t) const {
  return alpha(t) * sigma_slope(t) - alpha_slope(t) * sigma(t);
}

at::Tensor Path::noise_of(const at::Tensor& velocity, const at::Tensor& x_t, const at::Tensor& t) const {
  return (per_row(alpha(t), x_t) * velocity - per_row(alpha_slope(t), x_t) * x_t) / per_row(determinant(t), x_t);
}

at::Tensor Path::image_of(const at::Tensor& velocity, const at::Tensor& x_t, const at::Tensor& t) const {
  return (per_row(sigma_slope(t), x_t) * x_t - per_row(sigma(t), x_t) * velocity) / per_row(determinant(t), x_t);
}

at::Tensor Path::velocity_of_noise(const at::Tensor& z, const at::Tensor& x_t, const at::Tensor& t) const {
  const at::Tensor a = alpha(t);
  return per_row(alpha_slope(t) / a, x_t) * x_t + per_row(determinant(t) / a, x_t) * z;
}

at::Tensor Path::velocity_of_image(const at::Tensor& x, const at::Tensor& x_t, const at::Tensor& t) const {
  const at::Tensor s = sigma(t);
  return per_row(sigma_slope(t) / s, x_t) * x_t - per_row(determinant(t) / s, x_t) * x;
}

at::Tensor Path::diffusion(const at::Tensor& t) const {
  return 2 * sigma(t) * determinant(t) / alpha(t);
}

bool is_straight(const Path& path) {
  const at::Tensor t = at::tensor({0.25, 0.5, 0.75}, at::kDouble);
  return path.prior_scale() == 1 && path.alpha(t).allclose(1 - t) && path.sigma(t).allclose(t);
}

at::Tensor per_row(const at::Tensor& values, const at::Tensor& rows) {
  std::vector<std::int64_t> shape(static_cast<std::size_t>(rows.dim()), 1);
  shape.front() = -1;
  return values.view(shape);
}

}  // namespace couplet
