// Rows of a table as tensors.
#pragma once

#include "storage/tables/row_table.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

namespace couplet {

/// Rows [first, first + count) of one column as a tensor [count, shape...].
at::Tensor read_rows(const RowTable& table, const std::string& column, std::int64_t first, std::int64_t count);

}  // namespace couplet
