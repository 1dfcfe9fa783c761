// Images between the tables (uint8) and the models (float on [-1, 1]).
#pragma once

#include "storage/formats/picture.h"

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace couplet {

/// uint8 [...] → float32 on [-1, 1]: x / 127.5 - 1.
at::Tensor to_float(const at::Tensor& image);
/// float [...] → uint8, clamped and rounded; NaN becomes 0 (count NaN before).
at::Tensor to_uint8(const at::Tensor& image);

/// Noise of unit variance → uint8: black is -3 standard deviations, white 3.
at::Tensor noise_picture(const at::Tensor& noise);

/// uint8 [N, C, H, W] as one picture, `columns` images a row.
Picture picture_of(const at::Tensor& images, std::int64_t columns);

}  // namespace couplet
