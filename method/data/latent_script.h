// The program that turns images into latents and back: an autoencoder as a TorchScript file, from elsewhere or of the
// run's own stage. It has two methods, over float32 pixels and latents:
//   encode([n, channels, H, W]) -> [n, 2 C, h, w]   the mean, then the standard deviation, of each image's latents
//   decode([n, C, h, w]) -> [n, channels, H, W]
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <torch/csrc/jit/api/module.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace couplet {

/// What pixels are to an autoencoder: "signed": on [-1, 1]; "unit": on [0, 1].
inline constexpr const char* signed_pixels = "signed";
inline constexpr const char* unit_pixels = "unit";

/// May be used by several threads at once.
class LatentScript {
public:
  /// Refuses what is no such file.
  LatentScript(std::filesystem::path path, std::string pixel_range, c10::Device device);

  /// The latents of pixels, uint8 [n, C, H, W] on any device: float32 [n, 2 C, h, w] on the program's. Some rows at a
  /// time: a row's digits do not depend on the number of threads.
  at::Tensor encode(const at::Tensor& pixels) const;
  /// The pixels, uint8 on the program's device, of latents, float32 [n, C, h, w], as `encode` gives means. NaN becomes
  /// black.
  at::Tensor decode(const at::Tensor& latents) const;

  /// [C, h, w] of the latents of images of this shape. Tries both ways on an image: refuses a program that does not
  /// take such images, gives other shapes than the methods above, deviations below 0, an image of another shape back,
  /// or rows that depend on each other or on chance.
  std::vector<std::int64_t> latent_shape(const std::vector<std::int64_t>& pixel_shape) const;
  /// [C, H, W] of the images of latents of this shape. Tries it on zeros: refuses a program that does not take such
  /// latents, or makes of them what is no square picture.
  std::vector<std::int64_t> pixel_shape(const std::vector<std::int64_t>& latent_shape) const;

private:
  /// Pixels as the program takes them, on its device.
  at::Tensor input_of(const at::Tensor& pixels) const;
  /// Refuses a program whose results for one image depend on others, or on chance.
  void require_rows_of_their_own(const at::Tensor& image) const;
  at::Tensor call(const char* method, const at::Tensor& input) const;

  std::filesystem::path path_;
  bool is_unit_;
  c10::Device device_;
  mutable torch::jit::Module program_;  ///< its calls are not const
};

}  // namespace couplet
