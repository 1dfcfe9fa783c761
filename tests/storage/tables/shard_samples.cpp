#include "tests/storage/tables/shard_samples.h"
#include "storage/tables/row_shard_writer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstring>

namespace couplet::testing {
namespace {

/// The value at `position` (counted over the whole column) of every column.
std::int64_t sample_value(std::int64_t position) {
  return position * 7 % 251;
}

/// A whole number from 0 to 2047 as an IEEE half.
std::uint16_t half_of(std::int64_t value) {
  if (value == 0) return 0;
  const int exponent = static_cast<int>(std::bit_width(static_cast<std::uint64_t>(value))) - 1;
  const auto mantissa = (static_cast<std::uint64_t>(value) << (10 - exponent)) & 0x3ff;
  return static_cast<std::uint16_t>((static_cast<std::uint64_t>(exponent + 15) << 10) | mantissa);
}

template <class T>
void put(std::byte* target, std::int64_t value) {
  const auto typed = static_cast<T>(value);
  std::memcpy(target, &typed, sizeof typed);
}

void put_value(std::byte* target, ElementType type, std::int64_t value) {
  switch (type) {
    case ElementType::uint8:
      return put<std::uint8_t>(target, value);
    case ElementType::int32:
      return put<std::int32_t>(target, value);
    case ElementType::int64:
      return put<std::int64_t>(target, value);
    case ElementType::float32:
      return put<float>(target, value);
    case ElementType::float64:
      return put<double>(target, value);
    case ElementType::float16:
    case ElementType::bfloat16:
      return put<std::uint16_t>(target, half_of(value));
  }
}

}  // namespace

std::vector<Column> sample_columns() {
  return {{"noise", ElementType::float16, {3, 4, 4}, "noise, in units of its standard deviation"},
          {"image", ElementType::uint8, {3, 4, 4}, "grey values 0-255"},
          {"label", ElementType::int32, {}, "class"},
          {"sample", ElementType::int64, {}, "row of the data set"},
          {"nll", ElementType::float32, {}, "negative log-likelihood, bits a dimension"},
          {"error", ElementType::float64, {2}, "round-trip error"}};
}

ShardHeader sample_header(std::int64_t first_row, std::int64_t rows) {
  return {sample_format,
          newest_shard_version,
          first_row,
          rows,
          16,
          {{"teacher", {{"hash", "abc"}, {"step", 1000}}}, {"eta", 0.05}}};
}

std::vector<std::byte> sample_rows(const Column& column, std::int64_t first, std::int64_t count) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(count) * column.row_bytes());
  const std::size_t size = element_size(column.type);
  const auto row_values = static_cast<std::int64_t>(column.row_bytes() / size);
  for (std::int64_t i = 0; i < count * row_values; ++i) {
    put_value(bytes.data() + static_cast<std::size_t>(i) * size, column.type, sample_value(first * row_values + i));
  }
  return bytes;
}

void write_sample_shard(const std::filesystem::path& path, const ShardHeader& header, std::int64_t rows_at_once) {
  const auto columns = sample_columns();
  RowShardWriter writer(path, header, columns);
  for (std::int64_t row = 0; row < header.rows; row += rows_at_once) {
    const std::int64_t count = std::min(rows_at_once, header.rows - row);
    for (std::size_t c = 0; c < columns.size(); ++c) {
      writer.write(c, row, sample_rows(columns[c], header.first_row + row, count));
    }
  }
  writer.finish({{"rows", header.rows}, {"sum", 0.125}});
}

std::vector<std::byte> read_rows(const RowShard& shard, std::size_t column, std::int64_t rows_at_once) {
  const std::size_t row_bytes = shard.columns()[column].row_bytes();
  std::vector<std::byte> bytes(static_cast<std::size_t>(shard.header().rows) * row_bytes);
  for (std::int64_t row = 0; row < shard.header().rows; row += rows_at_once) {
    const std::int64_t count = std::min(rows_at_once, shard.header().rows - row);
    shard.read(column, row, count,
               std::span(bytes).subspan(static_cast<std::size_t>(row) * row_bytes,
                                        static_cast<std::size_t>(count) * row_bytes));
  }
  return bytes;
}

void expect_sample_rows(const std::filesystem::path& path) {
  const RowShard shard(path, sample_format);
  const ShardHeader& header = shard.header();
  ASSERT_EQ(shard.columns(), sample_columns());
  for (std::size_t c = 0; c < shard.columns().size(); ++c) {
    EXPECT_EQ(read_rows(shard, c, header.rows), sample_rows(shard.columns()[c], header.first_row, header.rows))
        << shard.columns()[c].name;
  }
}

}  // namespace couplet::testing
