// The low resolution of images: what super-resolution starts from, and what a model is given of it.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace couplet {

/// How images lose their resolution. The low resolution is 8-bit pixels, as a file of it would be.
struct LowResolution {
  std::int64_t factor = 0;  ///< of the sides; 0: a model is given no low resolution
  /// "area": the mean of each block of factor x factor pixels; "bicubic": Keys' kernel (a = -1/2), widened by the
  /// factor against aliasing, as PIL and torchvision have it. Halves are rounded up.
  std::string degradation = "area";

  bool is_given() const { return factor > 0; }
  /// What records say of it: {"condition": "low-resolution", "factor": 4, "degradation": "area"}; empty without one.
  nlohmann::json facts() const;
};

/// Refuses a factor that is not 2, 4 or 8 or does not divide the side of images [C, H, W], and a degradation that is
/// unknown, naming the keys.
void check(const LowResolution& low, const std::vector<std::int64_t>& pixel_shape);

/// uint8 [n, C, H, W] → uint8 [n, C, H / factor, W / factor], on the CPU. Equal for equal images, whatever the batch.
at::Tensor downsampled(const at::Tensor& pixels, const LowResolution& low);
/// uint8 [n, C, h, w] → float32 [n, C, factor h, factor w] on [-1, 1], by bicubic interpolation (a = -1/2), cut off
/// where it overshoots: what a model is given, whatever the degradation was.
at::Tensor upsampled(const at::Tensor& low_pixels, std::int64_t factor);
/// For people to look at: of each image its low resolution, each pixel repeated, what was made of that, and the image:
/// uint8 [3 n, C, H, W]. `made`, `images`: uint8 [n, C, H, W].
at::Tensor restoration_panels(const at::Tensor& made, const at::Tensor& images, const LowResolution& low);

}  // namespace couplet
