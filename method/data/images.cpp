#include "method/data/images.h"

#include <ATen/ATen.h>

namespace couplet {

at::Tensor to_float(const at::Tensor& image) {
  return image.to(at::kFloat, /*non_blocking=*/false, /*copy=*/true).div_(levels_a_unit).sub_(1.0);
}

at::Tensor to_uint8(const at::Tensor& image) {
  return image.to(at::kFloat).add(1.0).mul_(levels_a_unit).nan_to_num_(0.0).clamp_(0.0, 255.0).round_().to(at::kByte);
}

at::Tensor noise_picture(const at::Tensor& noise) {
  constexpr double darkest = 3;
  return to_uint8(noise.to(at::kFloat) / darkest);
}

Picture picture_of(const at::Tensor& images, std::int64_t columns) {
  const at::Tensor contiguous = images.contiguous();
  const auto* pixels = contiguous.data_ptr<std::uint8_t>();
  return picture_grid({pixels, pixels + contiguous.numel()}, images.size(0), images.size(1), images.size(2),
                      images.size(3), columns);
}

}  // namespace couplet
