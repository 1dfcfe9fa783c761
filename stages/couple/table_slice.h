// Some rows of a table that are computed together.
#pragma once

#include "stages/couple/sharded_table.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace couplet {

/// What the data set says of the rows of one slice: `slice_rows` of them always; beyond `count` they repeat the last
/// row and are not stored, so that every row is computed in a batch of the same shape.
struct TableSlice {
  std::int64_t count = 0;
  at::Tensor image;                           ///< [slice_rows, C, H, W] as stored, mirrored where `flip` is 1
  at::Tensor label, sample, flip, replicate;  ///< [slice_rows]
  std::vector<std::int64_t> row;              ///< numbers in the table
};

TableSlice read_slice(const TableSplit& table, std::int64_t first, std::int64_t count, std::int64_t slice_rows);

}  // namespace couplet
