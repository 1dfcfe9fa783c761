// Rows of a shard or a table as a file for NumPy.
#pragma once

#include "launch/inspect/row_source.h"

#include <filesystem>

namespace couplet {

/// Writes all columns of the rows to an .npz file, as one array a column, of the column's type. It replaces a file of
/// that name.
void export_rows(const RowSource& source, const RowSpan& rows, const std::filesystem::path& path);
/// The bytes of the values of so many rows.
std::uint64_t export_bytes(const RowSource& source, const RowSpan& rows);

}  // namespace couplet
