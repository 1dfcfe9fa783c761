#include "method/data/low_resolution.h"

#include "method/data/images.h"
#include "storage/error.h"

#include <ATen/ATen.h>

namespace couplet {
namespace {

/// Means of blocks, exact: (sum + half of the pixels) / pixels in whole numbers.
at::Tensor block_means(const at::Tensor& pixels, std::int64_t factor) {
  const std::int64_t count = factor * factor;
  const at::Tensor blocks = pixels.unflatten(3, {-1, factor}).unflatten(2, {-1, factor});
  const at::Tensor sums = blocks.sum({3, 5}, /*keepdim=*/false, at::kInt);
  return at::floor_divide(sums + count / 2, count).to(at::kByte);
}

at::Tensor resized(const at::Tensor& pixels, std::int64_t height, std::int64_t width) {
  return at::_upsample_bicubic2d_aa(pixels.to(at::kFloat), {height, width}, /*align_corners=*/false);
}

}  // namespace

nlohmann::json LowResolution::facts() const {
  if (!is_given()) return nlohmann::json::object();
  return {{"condition", "low-resolution"}, {"factor", factor}, {"degradation", degradation}};
}

void check(const LowResolution& low, const std::vector<std::int64_t>& pixel_shape) {
  if (low.factor != 2 && low.factor != 4 && low.factor != 8)
    refuse("prepare.factor = {}: images lose their resolution by a factor of 2, 4 or 8", low.factor);
  if (low.degradation != "area" && low.degradation != "bicubic")
    refuse("unknown prepare.degradation '{}'; there are: area, bicubic", low.degradation);
  for (const std::int64_t side : {pixel_shape.at(1), pixel_shape.at(2)})
    if (side % low.factor != 0)
      refuse("prepare.factor = {} does not divide the side of the images, {} pixels", low.factor, side);
}

at::Tensor downsampled(const at::Tensor& pixels, const LowResolution& low) {
  if (low.degradation == "area") return block_means(pixels, low.factor);
  const at::Tensor values = resized(pixels, pixels.size(2) / low.factor, pixels.size(3) / low.factor);
  return (values + 0.5).floor_().clamp_(0, 255).to(at::kByte);
}

at::Tensor upsampled(const at::Tensor& low_pixels, std::int64_t factor) {
  const at::Tensor values = resized(low_pixels, low_pixels.size(2) * factor, low_pixels.size(3) * factor);
  return values.clamp_(0, 255).div_(levels_a_unit).sub_(1);
}

at::Tensor restoration_panels(const at::Tensor& made, const at::Tensor& images, const LowResolution& low) {
  const at::Tensor repeated =
      downsampled(images, low).repeat_interleave(low.factor, 2).repeat_interleave(low.factor, 3);
  return at::stack({repeated, made, images}, 1).flatten(0, 1);
}

}  // namespace couplet
