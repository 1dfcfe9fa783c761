// Work on rows that is dealt out to the ranks in slices of a fixed size, so that the digits are the same on any number
// of ranks.
#pragma once

#include "pipeline/distributed/communicator.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

namespace couplet {

/// A file in which rank 0 keeps the values so far, for the next attempt.
struct SliceJournal {
  std::filesystem::path path;  ///< empty: nothing is kept. The caller removes the file when the values have been used
  std::string identity;  ///< what the values are, with all that they depend on; a file of other values is replaced
};

/// Rows of which something is computed: `columns` values a row.
struct SlicedRows {
  std::int64_t rows = 0;        ///< over all ranks
  std::int64_t slice_rows = 0;  ///< rows in a slice; slice i starts at row i · slice_rows
  std::int64_t columns = 0;
  std::string stopped;  ///< the message of Interrupted where a stop is asked for between two rounds of slices; empty:
                        ///< all slices are computed, whatever is asked for
  at::ScalarType type = at::kDouble;  ///< in which values travel and are kept; it must hold them exactly
  SliceJournal journal = {};
};

/// The ranks take the slices in turn. `make(first)` computes the slice at row `first`: [n, columns] with n up to
/// slice_rows; rows beyond the last one of all are dropped. Every rank then hands each slice's rows to `add`, float64
/// [count, columns], in the order of the rows. What a journal holds of an earlier attempt, on any number of ranks, is
/// handed to `add` first and not made again, so that `add` sees the same calls with the same values. Throws Interrupted
/// when the ranks agree to stop, unless `stopped` is empty, and MemoryExhausted on every rank where one runs out of
/// memory in `make`. Collective.
void for_each_slice(Communicator& communicator, const SlicedRows& sizes,
                    const std::function<at::Tensor(std::int64_t first)>& make,
                    const std::function<void(const at::Tensor& values)>& add);

}  // namespace couplet
