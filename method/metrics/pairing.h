// Pairing fidelity (docs/metrics.md): does a student, started in a row's own noise, come out near that row's image?
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace couplet {

/// The rows asked about and the images they are compared with. Images are of any type, flattened to values; equal scale
/// in all three.
struct PairingInput {
  at::Tensor generated;    ///< [rows, ...] student(z) of each row
  at::Tensor images;       ///< [rows, ...] x of each row
  at::Tensor labels;       ///< int64 [rows]
  at::Tensor pool;         ///< [pool, ...] images to choose from
  at::Tensor pool_labels;  ///< int64 [pool]
  at::Tensor own;  ///< int64 [rows]: the pool's entry that is the row's own image (or its mirror image), or -1; never
                   ///< an "other" image
};

/// One figure a row, on the CPU, for the caller to reduce in an order of its own.
struct PairingFidelity {
  at::Tensor ratio;  ///< float64 [rows]: ‖student(z) - x‖ / median over the pool's other images x' of x's class of ‖x'
                     ///< - x‖; NaN where that cannot be compared
  at::Tensor compared;  ///< bool [rows]: the pool has other images of x's class, and the median is above 0
  at::Tensor nearest;   ///< bool [rows]: no other image of the pool (of any class) is nearer to student(z) than x is
};

/// Euclidean distances from differences in float64, `chunk` pool images at a time. The median of an even number is the
/// mean of the middle two.
PairingFidelity pairing_fidelity(const PairingInput& input, std::int64_t chunk = 4096);

}  // namespace couplet
