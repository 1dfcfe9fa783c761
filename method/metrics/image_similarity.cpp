#include "method/metrics/image_similarity.h"

#include "storage/error.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>

namespace couplet {
namespace {

constexpr double peak = 255;
constexpr std::int64_t window = ssim_window;
constexpr double sigma = 1.5;
constexpr double c1 = (0.01 * peak) * (0.01 * peak), c2 = (0.03 * peak) * (0.03 * peak);

void check_pair(const at::Tensor& a, const at::Tensor& b) {
  if (a.dim() != 4 || a.sizes() != b.sizes() || a.scalar_type() != at::kByte || b.scalar_type() != at::kByte)
    refuse("pairs of images [{}] and [{}]: expected two sets of equally many 8-bit images of one size",
           fmt::join(a.sizes(), ", "), fmt::join(b.sizes(), ", "));
}

/// Means over the windows, [n, 1, H - 10, W - 10], of images [n, 1, H, W].
at::Tensor window_means(const at::Tensor& images) {
  const at::Tensor offsets = at::arange(window, at::kDouble) - (window - 1) / 2;
  at::Tensor weights = (offsets.square() / (-2 * sigma * sigma)).exp();
  weights = weights / weights.sum();
  return at::conv2d(at::conv2d(images, weights.view({1, 1, window, 1})), weights.view({1, 1, 1, window}));
}

}  // namespace

at::Tensor psnr(const at::Tensor& a, const at::Tensor& b) {
  check_pair(a, b);
  const at::Tensor error = (a.to(at::kDouble) - b.to(at::kDouble)).square().flatten(1).mean(1);
  return (peak * peak / error).log10() * 10;
}

at::Tensor ssim(const at::Tensor& a, const at::Tensor& b) {
  check_pair(a, b);
  if (std::min(a.size(2), a.size(3)) < window)
    return at::full({a.size(0)}, std::numeric_limits<double>::quiet_NaN(), at::kDouble);
  // Channels are images of their own.
  const auto planes = [](const at::Tensor& images) {
    return images.to(at::kDouble).reshape({-1, 1, images.size(2), images.size(3)});
  };
  const at::Tensor x = planes(a), y = planes(b);
  const at::Tensor mean_x = window_means(x), mean_y = window_means(y);
  const at::Tensor var_x = window_means(x * x) - mean_x * mean_x, var_y = window_means(y * y) - mean_y * mean_y;
  const at::Tensor covariance = window_means(x * y) - mean_x * mean_y;
  const at::Tensor map = (2 * mean_x * mean_y + c1) * (2 * covariance + c2) /
                         ((mean_x * mean_x + mean_y * mean_y + c1) * (var_x + var_y + c2));
  return map.reshape({a.size(0), -1}).mean(1);
}

}  // namespace couplet
