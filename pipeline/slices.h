// Work on rows dealt out to ranks in slices of a fixed size: the same digits on any number of ranks.
#pragma once

#include "pipeline/communicator.h"

#include <cstdint>
#include <functional>
#include <string>

namespace couplet {

/// What is computed of rows: `columns` values a row.
struct SlicedRows {
  std::int64_t rows = 0;        ///< all of them, over all ranks
  std::int64_t slice_rows = 0;  ///< a slice; slice i starts at row i · slice_rows
  std::int64_t columns = 0;
  std::string stopped;  ///< the message of Interrupted when a stop is asked for between two rounds of slices; empty:
                        ///< all slices are computed
};

/// Collective. The ranks take the slices in turn; `make(first)` computes the slice at row `first`: [n, columns] with n
/// up to slice_rows, of which rows beyond the last one of all are dropped. Every rank then hands each slice's rows to
/// `add`, float64 [count, columns], in the order of the rows. Throws Interrupted when the ranks agree to stop, unless
/// `stopped` is empty.
void for_each_slice(Communicator& communicator, const SlicedRows& sizes,
                    const std::function<at::Tensor(std::int64_t first)>& make,
                    const std::function<void(const at::Tensor& values)>& add);

}  // namespace couplet
