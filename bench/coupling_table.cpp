// coupling_read_raw: shuffled batches of 256 rows of 3x64x64 (float16 noise, uint8 image, label) through the loader,
// checksums verified, every byte summed, against read(2) of the same bytes in 1 MiB pieces, every byte summed.
// coupling_write_raw: a shard written and published against write(2) + fsync of the same bytes.
#include "stages/couple/coupling_table.h"
#include "bench/comparison.h"
#include "pipeline/row_stream.h"
#include "storage/atomic_file.h"
#include "storage/error.h"
#include "storage/filenames.h"

#include <ATen/ATen.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <vector>

namespace couplet {
namespace {

constexpr std::int64_t rows = 8192, shard_rows = 4096, block_rows = 256, batch = 256;
constexpr ShardPlan plan{rows, shard_rows};

std::uint64_t sum_bytes(const void* bytes, std::size_t size) {
  const auto* words = static_cast<const std::uint64_t*>(bytes);
  return std::accumulate(words, words + size / sizeof(std::uint64_t), std::uint64_t{0});
}

std::vector<std::byte> random_bytes(std::size_t size) {
  std::vector<std::byte> bytes(size);
  std::uint64_t state = 88172645463325252ULL;
  for (std::byte& byte : bytes) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    byte = static_cast<std::byte>(state);
  }
  return bytes;
}

void write_shard(const fs::path& directory, std::int64_t index, const std::vector<Column>& columns,
                 const std::vector<std::vector<std::byte>>& values) {
  Pending pending(directory / shard_name(index, plan.shards()));
  RowShardWriter writer(
      pending.path(),
      {coupling_format, 1, plan.first_row(index), plan.rows_of(index), block_rows, {{"teacher", "bench"}}}, columns);
  for (std::size_t column = 0; column < columns.size(); ++column) writer.write(column, 0, values[column]);
  writer.finish({});
  pending.commit();
}

void write_raw(const fs::path& path, const std::vector<std::vector<std::byte>>& values) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (file < 0) fail("{}: cannot be opened", path.string());
  for (const auto& bytes : values) {
    if (::write(file, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()))
      fail("{}: short write", path.string());
  }
  ::fsync(file);
  ::close(file);
}

std::uint64_t read_raw(const fs::path& directory) {
  static std::vector<std::uint64_t> piece((1 << 20) / sizeof(std::uint64_t));
  std::uint64_t sum = 0;
  for (std::int64_t index = 0; index < plan.shards(); ++index) {
    const int file = ::open((directory / shard_name(index, plan.shards())).c_str(), O_RDONLY);
    for (;;) {
      const ssize_t got = ::read(file, piece.data(), piece.size() * sizeof(std::uint64_t));
      if (got <= 0) break;
      sum += sum_bytes(piece.data(), static_cast<std::size_t>(got));
    }
    ::close(file);
  }
  return sum;
}

std::uint64_t read_stream(RowStream& stream, std::int64_t first) {
  std::uint64_t sum = 0;
  for (std::int64_t row = 0; row < rows; row += batch) {
    for (const at::Tensor& column : stream.read(first + row, batch))
      sum += sum_bytes(column.const_data_ptr(), column.nbytes());
  }
  return sum;
}

void run() {
  const fs::path directory = fs::temp_directory_path() / fmt::format("couplet-bench-{}", ::getpid());
  fs::create_directories(directory);
  const std::vector<Column> columns = coupling_columns({3, 64, 10, {}}, ElementType::float16);
  std::vector<std::vector<std::byte>> values;
  double bytes = 0;
  for (const Column& column : columns) {
    values.push_back(random_bytes(column.row_bytes() * static_cast<std::size_t>(shard_rows)));
    bytes += static_cast<double>(values.back().size());
  }
  compare_rates(
      "coupling_write_raw", "MB/s", bytes / 1e6, 7, [&] { write_shard(directory, 0, columns, values); },
      [&] { write_raw(directory / "raw", values); });
  fs::remove(directory / "raw");
  for (std::int64_t index = 0; index < plan.shards(); ++index) write_shard(directory, index, columns, values);
  publish_manifest(directory, plan, coupling_format, {});
  {
    const RowTable table(directory, coupling_format);
    RowStream stream(table, {"noise", "image", "label"}, 8, 1);
    std::uint64_t sum = 0;
    std::int64_t first = 0;
    compare_rates(
        "coupling_read_raw", "rows/s", static_cast<double>(rows), 7,
        [&] {
          sum += read_stream(stream, first);
          first += rows;
        },
        [&] { sum += read_raw(directory); });
    if (sum == 0) fail("the sums are 0: nothing was read");
  }
  fs::remove_all(directory);
}

}  // namespace
}  // namespace couplet

int main() {
  couplet::run();
}
