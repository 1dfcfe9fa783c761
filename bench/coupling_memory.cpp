// coupling_memory_reader, coupling_memory_writer: what a process's memory grows by at most (VmHWM) while a table is
// read to its end through the loader, or a shard written, at N and at 10 N rows of 3x32x32; equal where memory does not
// depend on the table's size. Each figure is of a process of its own.
#include "bench/memory.h"
#include "bench/shards.h"
#include "pipeline/loader/row_stream.h"
#include "storage/tables/row_shard_writer.h"

#include <fmt/format.h>

#include <cstdio>
#include <string>

namespace couplet {
namespace {

constexpr std::int64_t size = 32, rows = 8192, shard_rows = 4096, batch = 256, window_blocks = 8;

double reader_growth(const fs::path& directory) {
  sum_bytes(at::zeros({1024}, at::kLong).const_data_ptr(), 8192);  // what LibTorch takes once
  return memory_growth([&] {
    const RowTable table(directory, coupling_format);
    RowStream stream(table, {"noise", "image", "label"}, window_blocks, 1);
    std::uint64_t sum = 0;
    for (std::int64_t first = 0; first < table.rows(); first += batch)
      for (const at::Tensor& column : stream.read(first, batch))
        sum += sum_bytes(column.const_data_ptr(), column.nbytes());
    if (sum == 0) fail("nothing was read");
  });
}

/// One shard of so many rows, all of its slices alike.
double writer_growth(const fs::path& path, std::int64_t count) {
  const std::vector<Column> columns = bench_columns(size);
  const std::vector<at::Tensor> values = bench_values(0, bench_block_rows, size);
  return memory_growth([&] {
    Pending pending(path);
    RowShardWriter writer(pending.path(), {coupling_format, newest_shard_version, 0, count, bench_block_rows, {}},
                          columns);
    for (std::int64_t first = 0; first < count; first += bench_block_rows)
      for (std::size_t column = 0; column < columns.size(); ++column)
        writer.write(column, first, bytes_of(values[column]));
    writer.finish({});
    pending.commit();
  });
}

void print(const char* name, double one, double ten) {
  fmt::print("bench {} rows={} MiB={:.1f} rows10={} MiB10={:.1f}\n", name, rows, one, 10 * rows, ten);
  std::fflush(stdout);
}

void run() {
  const BenchDirectory folder;
  const auto reader = [&](std::int64_t count) {
    write_bench_table(folder / "table", {count, shard_rows}, size);
    const double figure = in_own_process(fmt::format("reader '{}'", (folder / "table").string()));
    fs::remove_all(folder / "table");
    return figure;
  };
  const auto writer = [&](std::int64_t count) {
    return in_own_process(fmt::format("writer '{}' {}", (folder / "shard.h5").string(), count));
  };
  print("coupling_memory_reader", reader(rows), reader(10 * rows));
  print("coupling_memory_writer", writer(rows), writer(10 * rows));
}

}  // namespace
}  // namespace couplet

int main(int count, char** words) {
  using namespace couplet;
  if (count == 1) run();
  if (count == 3) fmt::print("{}\n", reader_growth(words[2]));
  if (count == 4) fmt::print("{}\n", writer_growth(words[2], std::atoll(words[3])));
}
