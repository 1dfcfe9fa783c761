#include "method/models/patches.h"

#include <ATen/ATen.h>

namespace couplet {

at::Tensor patchify(const at::Tensor& images, std::int64_t patch) {
  const auto rows = images.size(0), channels = images.size(1);
  const auto down = images.size(2) / patch, across = images.size(3) / patch;
  return images.reshape({rows, channels, down, patch, across, patch})
      .permute({0, 2, 4, 1, 3, 5})
      .reshape({rows, down * across, channels * patch * patch});
}

at::Tensor unpatchify(const at::Tensor& tokens, std::int64_t channels, std::int64_t image_size, std::int64_t patch) {
  const auto rows = tokens.size(0), side = image_size / patch;
  return tokens.reshape({rows, side, side, channels, patch, patch})
      .permute({0, 3, 1, 4, 2, 5})
      .reshape({rows, channels, image_size, image_size});
}

}  // namespace couplet
