// Images of 8 bits: as numbers, and as pictures.
#pragma once

#include "storage/formats/picture.h"

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace couplet {

// What a data set stores is turned into numbers by its codec (method/data/codec.h); these are for what is pixels by
// definition.

inline constexpr double levels_a_unit = 127.5;  ///< grey levels in one unit of pixels on [-1, 1]

/// uint8 [...] → float32 on [-1, 1]: x / 127.5 - 1; a new tensor.
at::Tensor to_float(const at::Tensor& image);
/// float [...] → uint8, clamped and rounded; NaN becomes 0 (count NaN before).
at::Tensor to_uint8(const at::Tensor& image);
/// x / 127.5 - 1 of one grey value.
inline double pixel_value(int grey) {
  return grey / levels_a_unit - 1;
}

/// Noise of unit variance → uint8: black is -3 standard deviations, white 3.
at::Tensor noise_picture(const at::Tensor& noise);

/// uint8 [N, C, H, W] as one picture, `columns` images a row.
Picture picture_of(const at::Tensor& images, std::int64_t columns);

}  // namespace couplet
