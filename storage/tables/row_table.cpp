#include "storage/tables/row_table.h"

#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/files/file_counts.h"
#include "storage/tables/filenames.h"

#include <algorithm>

namespace couplet {
RowTable::RowTable(const std::filesystem::path& directory, const std::string& expected_format,
                   const ReadOptions& options)
    : directory_(directory), manifest_(load_manifest(directory, expected_format)) {
  try {
    plan_ = manifest_plan(manifest_);
    block_rows_ = manifest_.at("block_rows").get<std::int64_t>();
    shards_ = std::make_unique<ListedShards>(directory, manifest_, options);
    first_ = shard(0);
  } catch (const nlohmann::json::exception& error) {
    fail("{}: is incomplete: {}", (directory / manifest_name).string(), error.what());
  }
}

void RowTable::require_shards() const {
  for (const nlohmann::json& entry : manifest_.at("shards")) {
    const fs::path path = directory_ / entry.at("name").get<std::string>();
    const auto bytes = entry.at("bytes").get<std::uint64_t>();
    const std::string listed = (directory_ / manifest_name).string();
    std::error_code error;
    const std::uint64_t size = fs::file_size(path, error);
    count_look();
    if (error == std::errc::no_such_file_or_directory)
      fail("{}: is missing, but {} lists it; make it again", path.string(), listed);
    if (error) fail("{}: cannot be looked at: {}", path.string(), error.message());
    if (size != bytes)
      fail("{}: has {} bytes, {} lists {}; the shard was replaced", path.string(), size, listed, bytes);
  }
}

std::string RowTable::content_hash() const {
  return couplet::content_hash(manifest_);
}

void RowTable::check_range(std::size_t column, std::int64_t first, std::int64_t count) const {
  if (first < 0 || count < 0 || count > rows() - first || column >= columns().size()) {
    fail("{}: cannot read {} rows from row {} of column number {}; it has {} rows and {} columns", directory_.string(),
         count, first, column, rows(), columns().size());
  }
}

void RowTable::read(std::size_t column, std::int64_t first, std::int64_t count, std::span<std::byte> out) const {
  check_range(column, first, count);
  const std::size_t row_bytes = columns()[column].row_bytes();
  if (out.size() != static_cast<std::size_t>(count) * row_bytes) {
    fail("{}: cannot read {} rows of {} bytes into {} bytes", directory_.string(), count, row_bytes, out.size());
  }
  for (std::int64_t done = 0; done < count;) {
    const std::int64_t index = (first + done) / plan_.shard_rows;
    const std::int64_t in_shard = first + done - plan_.first_row(index);
    const std::int64_t rows = std::min(count - done, plan_.rows_of(index) - in_shard);
    shard(index)->read(
        column, in_shard, rows,
        out.subspan(static_cast<std::size_t>(done) * row_bytes, static_cast<std::size_t>(rows) * row_bytes));
    done += rows;
  }
}

void RowTable::gather(std::size_t column, std::span<const std::int64_t> numbers,
                      std::span<std::byte* const> places) const {
  if (numbers.empty()) return;
  check_range(column, numbers.front(), numbers.back() - numbers.front() + 1);
  std::vector<std::int64_t> in_shard;
  for (std::size_t begin = 0; begin < numbers.size(); begin += in_shard.size()) {
    const std::int64_t index = numbers[begin] / plan_.shard_rows, end = plan_.first_row(index) + plan_.rows_of(index);
    in_shard.clear();
    for (std::size_t i = begin; i < numbers.size() && numbers[i] < end; ++i)
      in_shard.push_back(numbers[i] - plan_.first_row(index));
    shard(index)->gather(column, in_shard, places.subspan(begin, in_shard.size()));
  }
}

}  // namespace couplet
