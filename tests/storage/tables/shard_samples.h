// A small shard with every element type, whose values are a function of row and position.
#pragma once

#include "storage/tables/row_shard.h"

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

namespace couplet::testing {

inline constexpr const char* sample_format = "couplet-coupling";

std::vector<Column> sample_columns();
/// 100 rows from global row `first_row` on, in blocks of 16 (the last one has 4).
ShardHeader sample_header(std::int64_t first_row = 200, std::int64_t rows = 100);
/// Rows [first, first + count) of a column by global number, as bytes. float16 values are small whole numbers.
std::vector<std::byte> sample_rows(const Column& column, std::int64_t first, std::int64_t count);
/// Writes and finishes the shard, `rows_at_once` rows a call.
void write_sample_shard(const std::filesystem::path& path, const ShardHeader& header = sample_header(),
                        std::int64_t rows_at_once = 7);
/// All rows of a column, in reads of `rows_at_once`.
std::vector<std::byte> read_rows(const RowShard& shard, std::size_t column, std::int64_t rows_at_once);
/// Opens the shard and compares every value with sample_rows.
void expect_sample_rows(const std::filesystem::path& path);

}  // namespace couplet::testing
