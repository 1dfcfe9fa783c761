// The rows that a map is fitted to, and sums over them.
#pragma once

#include "pipeline/distributed/communicator.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

namespace couplet {

struct LabelledNoise {
  at::Tensor z;      ///< float64 [n, C, H, W], on the CPU
  at::Tensor label;  ///< int64 [n]
};

struct TrainingNoise {
  std::int64_t rows = 0;
  /// Rows [first, first + count). Several threads may ask at once.
  std::function<LabelledNoise(std::int64_t first, std::int64_t count)> read;
  Communicator& communicator;
};

struct RowPiece {
  std::int64_t first = 0, count = 0;
};
/// All rows, in pieces of so many; the last may be shorter.
std::vector<RowPiece> pieces_of(std::int64_t rows, std::int64_t piece_rows);

/// The sum, float64 of these sizes, of what `add` adds to a sum for each piece. Ranks and threads take groups of
/// neighbouring pieces, and the groups' sums are added in their order: the bits depend on the pieces alone. `add` may
/// be called by several threads at once, with sums of their own. Throws Interrupted when the ranks agree to stop.
/// Memory: four sums a rank. Collective.
at::Tensor sum_over_rows(const TrainingNoise& rows, const std::vector<RowPiece>& pieces,
                         const std::vector<std::int64_t>& sizes,
                         const std::function<void(at::Tensor& sum, const LabelledNoise& piece)>& add);

}  // namespace couplet
