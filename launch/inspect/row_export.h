// Rows of a shard or a table as a file for NumPy.
#pragma once

#include "launch/inspect/row_source.h"

#include <filesystem>

namespace couplet {

/// All columns of the rows as an .npz file, one array a column, of the column's type. Replaces a file of that name.
void export_rows(const RowSource& source, const RowSpan& rows, const std::filesystem::path& path);
/// Bytes of the values of so many rows.
std::uint64_t export_bytes(const RowSource& source, const RowSpan& rows);

}  // namespace couplet
