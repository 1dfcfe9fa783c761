// Dropout as a function of the training run's position of a row.
#pragma once

#include "pipeline/tensor/random.h"

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace couplet {

/// What a part of a network drops: value k of a row is a function of (seed, purpose, position of the row, number of the
/// part, k), so that it is the same on any number of ranks, after a resume and when it is computed again.
struct DropoutDraws {
  static constexpr std::int64_t most_parts = 1024;  ///< that the draws of a position are divided among

  double probability = 0;
  std::uint64_t seed = 0;
  std::int64_t part = 0;  ///< below `most_parts`
  Purpose purpose = Purpose::dropout;

  /// 0 where a value is dropped, 1 / (1 - probability) elsewhere, of the shape and type of `values` [N, ...]. It is
  /// drawn on the CPU. `positions`: int64 [N].
  at::Tensor mask(const at::Tensor& values, const at::Tensor& positions) const;
  /// `mask`, or an undefined tensor where nothing is dropped: at probability 0, and without positions (undefined, or no
  /// elements).
  at::Tensor mask_if_any(const at::Tensor& values, const at::Tensor& positions) const;
  /// The values with those dropped.
  at::Tensor applied(const at::Tensor& values, const at::Tensor& positions) const;
};

}  // namespace couplet
