#include "storage/tables/row_table.h"

#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/files/hash.h"
#include "storage/tables/filenames.h"
#include "storage/tables/shard_cache.h"

#include <sys/resource.h>

#include <algorithm>
#include <optional>
#include <set>

namespace couplet {
namespace {

using nlohmann::json;

/// Opens a file that is to be shard `index` of a finished table and checks it against the manifest.
RowShard open_listed_shard(const std::filesystem::path& path, const std::string& manifest_path, const json& manifest,
                           std::int64_t index, bool verify) {
  const json& entry = manifest.at("shards").at(static_cast<std::size_t>(index));
  RowShard shard(path, manifest.at("format").get<std::string>(), verify);
  const std::string text =
      facts_difference(shard_facts(shard.header(), shard.columns()), listed_facts(manifest, index));
  if (!text.empty()) fail("{}: does not belong to the table of {}: {}", path.string(), manifest_path, text);
  const auto bytes = entry.at("bytes").get<std::uint64_t>();
  if (const std::uint64_t size = shard.file().size(); size != bytes) {
    fail("{}: has {} bytes, {} lists {}; the shard was replaced", path.string(), size, manifest_path, bytes);
  }
  return shard;
}

/// Opens the shards of a table one after the other, from the cache where there is one.
class ShardOpener {
public:
  ShardOpener(const std::filesystem::path& directory, const json& manifest, const ReadOptions& options)
      : directory_(directory), manifest_(manifest), options_(options) {
    if (options.cache_dir.empty()) return;
    std::set<std::string> hashes;
    for (const json& entry : manifest.at("shards")) hashes.insert(entry.at("hash").get<std::string>());
    cache_.emplace(options.cache_dir, options.cache_bytes, std::move(hashes), options.note);
  }

  RowShard open(std::int64_t index) {
    const json& entry = manifest_.at("shards").at(static_cast<std::size_t>(index));
    const std::filesystem::path path = directory_ / entry.at("name").get<std::string>();
    const std::string manifest_path = (directory_ / manifest_name).string();
    if (!fs::exists(path)) fail("{}: is missing, but {} lists it; make it again", path.string(), manifest_path);
    if (options_.is_foreign) open_foreign_shard(path, manifest_.at("format").get<std::string>());
    if (cache_) {
      const auto copy = cache_->copy_of(path, entry.at("hash").get<std::string>(),
                                        entry.at("bytes").get<std::uint64_t>(), !options_.verify);
      try {
        if (copy != path) return open_listed_shard(copy, manifest_path, manifest_, index, options_.verify);
      } catch (const Error& error) {
        cache_->drop(copy, error.what());
      }
    }
    return open_listed_shard(path, manifest_path, manifest_, index, options_.verify);
  }

private:
  const std::filesystem::path& directory_;
  const json& manifest_;
  const ReadOptions& options_;
  std::optional<ShardCache> cache_;
};

/// Each open shard holds a file: asks for as many as the system allows.
void allow_open_files() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
}

}  // namespace

RowTable::RowTable(const std::filesystem::path& directory, const std::string& expected_format,
                   const ReadOptions& options)
    : directory_(directory), manifest_(load_manifest(directory, expected_format)) {
  try {
    plan_ = manifest_plan(manifest_);
    block_rows_ = manifest_.at("block_rows").get<std::int64_t>();
    allow_open_files();
    ShardOpener opener(directory, manifest_, options);
    for (std::int64_t i = 0; i < plan_.shards(); ++i) shards_.push_back(opener.open(i));
  } catch (const json::exception& error) {
    fail("{}: is incomplete: {}", (directory / manifest_name).string(), error.what());
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

template <class Work>
void RowTable::for_each_shard(std::int64_t first, std::int64_t count, Work work) const {
  for (std::int64_t done = 0; done < count;) {
    const std::int64_t row = first + done;
    const std::int64_t index = row / plan_.shard_rows;
    const std::int64_t in_shard = row - plan_.first_row(index);
    const std::int64_t rows = std::min(count - done, plan_.rows_of(index) - in_shard);
    work(shard(index), in_shard, static_cast<std::size_t>(done), static_cast<std::size_t>(rows));
    done += rows;
  }
}

void RowTable::read(std::size_t column, std::int64_t first, std::int64_t count, std::span<std::byte> out) const {
  check_range(column, first, count);
  const std::size_t row_bytes = columns()[column].row_bytes();
  if (out.size() != static_cast<std::size_t>(count) * row_bytes) {
    fail("{}: cannot read {} rows of {} bytes into {} bytes", directory_.string(), count, row_bytes, out.size());
  }
  for_each_shard(first, count, [&](const RowShard& shard, std::int64_t row, std::size_t done, std::size_t rows) {
    shard.read(column, row, static_cast<std::int64_t>(rows), out.subspan(done * row_bytes, rows * row_bytes));
  });
}

void RowTable::scatter(std::size_t column, std::int64_t first, std::span<std::byte* const> rows) const {
  check_range(column, first, static_cast<std::int64_t>(rows.size()));
  for_each_shard(first, static_cast<std::int64_t>(rows.size()),
                 [&](const RowShard& shard, std::int64_t row, std::size_t done, std::size_t count) {
                   shard.scatter(column, row, rows.subspan(done, count));
                 });
}

}  // namespace couplet
