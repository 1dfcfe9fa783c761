// Coupling tables that benchmarks read: rows of 3 x SIZE x SIZE, and the same bytes without us.
#pragma once

#include "bench/bench_directory.h"
#include "method/tables/coupling_table.h"
#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/tables/filenames.h"
#include "storage/tables/row_shard_writer.h"

#include <ATen/ATen.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

namespace couplet {

inline constexpr std::int64_t bench_block_rows = 256;

/// All 64-bit words added, so that every byte was looked at.
inline std::uint64_t sum_bytes(const void* bytes, std::size_t size) {
  const auto* words = static_cast<const std::uint64_t*>(bytes);
  return std::accumulate(words, words + size / sizeof(std::uint64_t), std::uint64_t{0});
}

inline std::span<const std::byte> bytes_of(const at::Tensor& tensor) {
  return {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()};
}

inline std::vector<Column> bench_columns(std::int64_t size) {
  return coupling_columns({3, size, 10, {}}, ElementType::float16);
}

/// Values of a shard's columns that `verify` finds sound; noise and images are random.
inline std::vector<at::Tensor> bench_values(std::int64_t first, std::int64_t rows, std::int64_t size) {
  const at::Tensor row = at::arange(first, first + rows, at::kLong);
  return {(at::rand({rows, 3, size, size}) * 4 - 2).to(at::kHalf),
          at::randint(256, {rows, 3, size, size}, at::kByte),
          row.remainder(10).to(at::kInt),
          row.div(2, "floor"),
          row.remainder(2).to(at::kByte),
          at::zeros({rows}, at::kInt),
          at::zeros({rows}, at::kFloat),
          at::full({rows}, -1, at::kFloat)};
}

/// Writes and publishes a shard, `slice` rows a call, as the couple stage does.
inline void write_bench_shard(const fs::path& directory, const ShardPlan& plan, std::int64_t index,
                              const std::vector<Column>& columns, const std::vector<at::Tensor>& values,
                              std::int64_t slice = bench_block_rows) {
  Pending pending(directory / shard_name(index, plan.shards()));
  const nlohmann::json provenance{{"teacher", "bench"}, {"flips", true}, {"replicates", 1}};
  const std::int64_t rows = plan.rows_of(index);
  RowShardWriter writer(
      pending.path(),
      {coupling_format, newest_shard_version, plan.first_row(index), rows, bench_block_rows, provenance}, columns);
  for (std::int64_t first = 0; first < rows; first += slice)
    for (std::size_t column = 0; column < columns.size(); ++column)
      writer.write(column, first, bytes_of(values[column].narrow(0, first, std::min(slice, rows - first))));
  writer.finish({});
  pending.commit();
}

inline void write_bench_table(const fs::path& directory, const ShardPlan& plan, std::int64_t size) {
  fs::create_directories(directory);
  for (std::int64_t index = 0; index < plan.shards(); ++index)
    write_bench_shard(directory, plan, index, bench_columns(size),
                      bench_values(plan.first_row(index), plan.rows_of(index), size));
  publish_manifest(directory, plan, coupling_format, {{"sigma_f", 1}});
}

}  // namespace couplet
