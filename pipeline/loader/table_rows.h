// Rows of a table as tensors.
#pragma once

#include "storage/tables/row_table.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace couplet {

/// A tensor [count, shape...] of the column's type, whose values are whatever its memory holds.
at::Tensor empty_rows(const Column& column, std::int64_t count);
/// Reads rows [first, first + count) of one column as a tensor [count, shape...].
at::Tensor read_rows(const RowTable& table, const std::string& column, std::int64_t first, std::int64_t count);
/// Reads the rows of these numbers, which do not descend: each once, and no others than share a checksum with them.
at::Tensor read_numbered_rows(const RowTable& table, const std::string& column,
                              const std::vector<std::int64_t>& numbers);

}  // namespace couplet
