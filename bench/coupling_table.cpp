// Coupling tables of 3x64x64 float16 noise and uint8 images against the same bytes through read(2) and write(2), in a
// warm cache. Both sides look at every byte (64-bit words are added) or hand every byte to the disk.
//   coupling_write_raw             a shard written in slices and published (fsync) : write(2) in 1 MiB pieces + fsync
//   coupling_read_raw              shuffled batches of 256 rows (noise, image, label) through the loader, checksums
//                                  verified : read(2) in 1 MiB pieces of the very bytes of these columns, in order
//   coupling_read_raw_unverified   the same with storage.verify-reads = false
//   coupling_verify_raw            `couplet verify`'s check of every shard : read(2) of the whole files
#include "bench/comparison.h"
#include "bench/shards.h"
#include "method/tables/coupling_check.h"
#include "pipeline/loader/row_stream.h"
#include "storage/tables/table_check.h"

#include <string>

namespace couplet {
namespace {

constexpr std::int64_t size = 64, batch = 256, window_blocks = 8;
constexpr ShardPlan plan{8192, 4096};     // read
constexpr ShardPlan written{8192, 8192};  // one shard of couple.shard-rows' default
constexpr int rounds = 15;
const std::vector<std::string> read_columns{"noise", "image", "label"};

constexpr std::size_t piece_bytes = std::size_t{1} << 20;

/// A new file that takes the place of the last round's, as a published shard does: where on the disk the blocks come
/// from, and that old ones are freed, is then the same for both sides.
void write_raw(const fs::path& final_path, const std::vector<at::Tensor>& values) {
  const fs::path path = final_path.string() + "-new";
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (file < 0) fail("{}: cannot be opened", path.string());
  for (const at::Tensor& column : values) {
    const auto bytes = bytes_of(column);
    for (std::size_t done = 0; done < bytes.size();) {
      const ssize_t n = ::write(file, bytes.data() + done, std::min(piece_bytes, bytes.size() - done));
      if (n <= 0) fail("{}: cannot be written", path.string());
      done += static_cast<std::size_t>(n);
    }
  }
  ::fsync(file);
  ::close(file);
  fs::rename(path, final_path);
}

/// Bytes [begin, end) of a file.
struct Range {
  int file = -1;
  std::uint64_t begin = 0, end = 0;
};

/// The sum of each range.
std::vector<std::uint64_t> read_raw(const std::vector<Range>& ranges) {
  static std::vector<std::uint64_t> piece(piece_bytes / sizeof(std::uint64_t));
  std::vector<std::uint64_t> sums;
  for (const Range& range : ranges) {
    ::lseek(range.file, static_cast<off_t>(range.begin), SEEK_SET);
    sums.push_back(0);
    for (std::uint64_t at = range.begin; at < range.end;) {
      const ssize_t n = ::read(range.file, piece.data(), std::min<std::uint64_t>(piece_bytes, range.end - at));
      if (n <= 0) fail("a shard cannot be read");
      sums.back() += sum_bytes(piece.data(), static_cast<std::size_t>(n));
      at += static_cast<std::uint64_t>(n);
    }
  }
  return sums;
}

/// Where a column of every shard lies.
std::vector<Range> column_ranges(const RowTable& table, const std::string& name) {
  std::vector<Range> ranges;
  for (std::int64_t index = 0; index < plan.shards(); ++index) {
    const RowShard& shard = *table.shard(index);  // stays open: there are few
    const std::size_t column = shard.column(name);
    const std::uint64_t bytes = shard.columns()[column].row_bytes() * static_cast<std::uint64_t>(plan.rows_of(index));
    ranges.push_back({shard.file().descriptor(), shard.offset(column), shard.offset(column) + bytes});
  }
  return ranges;
}

void compare_writing(const BenchDirectory& folder) {
  const std::vector<Column> columns = bench_columns(size);
  const std::vector<at::Tensor> values = bench_values(0, written.rows, size);
  double bytes = 0;
  for (const at::Tensor& column : values) bytes += static_cast<double>(column.nbytes());
  fs::create_directories(folder / "written");
  compare_rates(
      "coupling_write_raw", "MB/s", bytes / 1e6, rounds,
      [&] { write_bench_shard(folder / "written", written, 0, columns, values); },
      [&] { write_raw(folder / "written/raw", values); });
  fs::remove_all(folder / "written");
}

void compare_reading(const fs::path& directory, const std::string& name, bool verify) {
  ReadOptions options;
  options.verify = verify;
  const RowTable table(directory, coupling_format, options);
  RowStream stream(table, read_columns, window_blocks, 1);
  std::vector<Range> ranges;
  for (const std::string& column : read_columns)
    for (const Range& range : column_ranges(table, column)) ranges.push_back(range);
  std::int64_t first = 0;
  std::vector<std::uint64_t> ours, theirs;
  const auto read_epoch = [&] {
    ours.assign(read_columns.size(), 0);
    for (const std::int64_t end = first + plan.rows; first < end; first += batch) {
      const std::vector<at::Tensor> columns = stream.read(first, batch);
      for (std::size_t i = 0; i < ours.size(); ++i)
        ours[i] += sum_bytes(columns[i].const_data_ptr(), columns[i].nbytes());
    }
  };
  compare_rates(name, "rows/s", static_cast<double>(plan.rows), rounds, read_epoch, [&] { theirs = read_raw(ranges); });
  // Whole rows of noise and images are whole words, so their sums do not depend on the rows' order.
  const auto shards = static_cast<std::size_t>(plan.shards());
  for (std::size_t i = 0; i < 2; ++i) {
    const auto raw = std::span(theirs).subspan(i * shards, shards);
    if (ours[i] != std::accumulate(raw.begin(), raw.end(), std::uint64_t{0}) || ours[i] == 0)
      fail("{}: the two sides did not read the same bytes", read_columns[i]);
  }
}

void compare_verifying(const fs::path& directory) {
  const RowTable table(directory, coupling_format);
  std::vector<Range> ranges;
  double bytes = 0;
  for (std::int64_t index = 0; index < plan.shards(); ++index) {
    const FileHandle& file = table.shard(index)->file();
    ranges.push_back({file.descriptor(), 0, file.size()});
    bytes += static_cast<double>(file.size());
  }
  const auto verify = [&] {
    const TableSurvey survey = survey_table(directory);
    for (std::int64_t index = 0; index < survey.shards; ++index)
      for (const Problem& problem : check_shard(survey, index, /*quick=*/false, check_coupling_rows))
        fail("{}: {}", problem.file, problem.what);
  };
  compare_rates("coupling_verify_raw", "MB/s", bytes / 1e6, rounds, verify, [&] { read_raw(ranges); });
}

void run() {
  const BenchDirectory folder;
  compare_writing(folder);
  write_bench_table(folder / "table", plan, size);
  compare_reading(folder / "table", "coupling_read_raw", true);
  compare_reading(folder / "table", "coupling_read_raw_unverified", false);
  compare_verifying(folder / "table");
}

}  // namespace
}  // namespace couplet

int main() {
  couplet::run();
}
