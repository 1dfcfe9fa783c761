// Noise drawn for rows by their numbers: of images, and by itself.
#pragma once

#include "pipeline/tensor/random.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace couplet {

/// The teacher's noise. Gaussian: x + η ε'. Uniform: one grey level, (g + u) / 128 - 1 for grey value g and u in [0, 1)
/// (TarFlow's dequantisation).
struct ImageNoise {
  bool uniform = false;
  double standard_deviation = 0;  ///< η, for Gaussian noise
};
/// Noised float image of one uint8 image [C, H, W], drawn from (seed, purpose, index).
at::Tensor noised(const at::Tensor& image, const ImageNoise& noise, std::uint64_t seed, Purpose purpose,
                  std::uint64_t index);
/// The same for a stack of images [N, C, H, W], image i drawn from indices[i].
at::Tensor noised_rows(const at::Tensor& images, const ImageNoise& noise, std::uint64_t seed, Purpose purpose,
                       const std::vector<std::int64_t>& indices);
/// Standard normal [indices.size(), shape...], row i drawn from (seed, purpose, indices[i]).
at::Tensor normal_rows(const std::vector<std::int64_t>& shape, std::uint64_t seed, Purpose purpose,
                       const std::vector<std::int64_t>& indices);

/// uint8 images [N, C, H, W] with uniform noise of one grey level: (g + u - ½) / 127.5 - 1, u in [0, 1) a function of
/// (seed, row). The cell of grey value g lies around the value that g has for a student.
at::Tensor dequantised(const at::Tensor& images, std::uint64_t seed, const std::vector<std::int64_t>& rows);
/// Bits a value of 8-bit images, of densities in nats an image of `values` values, on the scale of `dequantised`.
at::Tensor student_bits(const at::Tensor& nats, std::int64_t values);

}  // namespace couplet
