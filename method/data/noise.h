// Noise is drawn for rows by their numbers: on images, and by itself.
#pragma once

#include "method/data/codec.h"
#include "pipeline/tensor/random.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace couplet {

/// The teacher's noise. Gaussian: x + η ε'. Uniform, on images of 8 bits: one grey level, (g + u) / 128 - 1 for grey
/// value g and u in [0, 1) (TarFlow's dequantisation).
struct ImageNoise {
  bool uniform = false;
  double standard_deviation = 0;  ///< η, for Gaussian noise
};
/// One stored image [C, H, W] as models see it, float32, with noise drawn from (seed, purpose, index). Refuses uniform
/// noise on images that are not of 8 bits.
at::Tensor noised(const at::Tensor& image, const Codec& codec, const ImageNoise& noise, std::uint64_t seed,
                  Purpose purpose, std::uint64_t index);
/// Does the same for a stack of images [N, C, H, W], with the noise of image i drawn from indices[i].
at::Tensor noised_rows(const at::Tensor& images, const Codec& codec, const ImageNoise& noise, std::uint64_t seed,
                       Purpose purpose, const std::vector<std::int64_t>& indices);
/// Takes uniform noise off images of 8 bits again: what models see, float32, of the grey values floor((x + 1) 128) in
/// whose cells the values x lie; on their device. Values that are not finite stay as they are.
at::Tensor without_uniform_noise(const at::Tensor& x);
/// Standard normal [indices.size(), shape...], row i drawn from (seed, purpose, indices[i]).
at::Tensor normal_rows(const std::vector<std::int64_t>& shape, std::uint64_t seed, Purpose purpose,
                       const std::vector<std::int64_t>& indices);

/// Signs ±1, float32 [indices.size(), shape...], row i drawn from (seed, purpose, indices[i]).
at::Tensor sign_rows(const std::vector<std::int64_t>& shape, std::uint64_t seed, Purpose purpose,
                     const std::vector<std::int64_t>& indices);

/// [count, rows.size(), shape...] of ±1, float32, probes of a likelihood's trace: a function of (seed, row, number of
/// the probe).
at::Tensor rademacher_probes(std::int64_t count, const std::vector<std::int64_t>& shape, std::uint64_t seed,
                             const std::vector<std::int64_t>& rows);

/// Images [N, C, H, W] as models see them, spread uniformly over the levels that the codec stores: x + (u - ½) /
/// levels, u in [0, 1) of image i drawn from (seed, purpose, indices[i]). The cell of a level lies around the value
/// that the level has without. The codec stores levels.
at::Tensor spread_over_levels(const at::Tensor& x, const Codec& codec, std::uint64_t seed, Purpose purpose,
                              const std::vector<std::int64_t>& indices);
/// Stored images [N, C, H, W] as models see them, with uniform noise as wide as one stored level: of grey value g, what
/// g + u - ½ is seen as, u in [0, 1) a function of (seed, row, draw): rows drawn more than once number their draws from
/// 0. The cell of a level lies around the value that the level has for a student.
at::Tensor dequantised(const at::Tensor& images, const Codec& codec, std::uint64_t seed,
                       const std::vector<std::int64_t>& rows, std::int64_t draw = 0);
/// Turns densities in nats an image of `values` values into bits a value, on the scale of `dequantised`. The codec
/// stores levels.
at::Tensor student_bits(const at::Tensor& nats, std::int64_t values, const Codec& codec);

}  // namespace couplet
