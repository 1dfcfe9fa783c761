// What samples start from: a noise and a label for each sample index.
#pragma once

#include "method/data/dataset.h"
#include "storage/tables/row_table.h"

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace couplet {

/// z: float32 [n, C, H, W] of unit variance. labels: int64 [n].
struct Starts {
  at::Tensor z, labels;
};

/// Samples [first, first + count): z a function of (seed, sample), shared by all models. Labels follow the training
/// set's class frequencies: sample i takes the class at the quantile frac(i · 0.618…), so that every run of consecutive
/// samples is spread over the classes.
Starts fresh_starts(const DatasetShape& shape, std::uint64_t seed, std::int64_t first, std::int64_t count);
/// The noise and label of rows [first, first + count) of a coupling table, noise divided by `sigma_f`. Rows beyond the
/// table's end repeat its last.
Starts table_starts(const RowTable& table, double sigma_f, std::int64_t first, std::int64_t count);

}  // namespace couplet
