// Images as sequences of patches, the form in which both transformers see them. Views and one copy; no arithmetic.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace couplet {

/// Images [N, C, H, W] to tokens [N, T, C·p²]: T = (H/p)(W/p) patches in reading order, the values of one in (C, p, p)
/// order (as torch's unfold).
at::Tensor patchify(const at::Tensor& images, std::int64_t patch);
/// The inverse of patchify, for square images.
at::Tensor unpatchify(const at::Tensor& tokens, std::int64_t channels, std::int64_t image_size, std::int64_t patch);

}  // namespace couplet
