#include "storage/row_table.h"

#include "storage/atomic_file.h"
#include "storage/error.h"
#include "storage/filenames.h"
#include "storage/hash.h"

#include <sys/resource.h>

#include <algorithm>

namespace couplet {
namespace {

using nlohmann::json;

/// Opens one shard of a finished table and checks it against the manifest.
RowShard open_listed_shard(const std::filesystem::path& directory, const json& manifest, const ShardPlan& plan,
                           std::int64_t index) {
  const json& entry = manifest.at("shards").at(static_cast<std::size_t>(index));
  const std::filesystem::path path = directory / shard_name(index, plan.shards());
  const std::string manifest_path = (directory / manifest_name).string();
  if (!fs::exists(path)) fail("{}: is missing, but {} lists it; make it again", path.string(), manifest_path);
  RowShard shard(path, manifest.at("format").get<std::string>());
  const std::string text = difference(shard_facts(shard.header(), shard.columns()), listed_facts(manifest, index));
  if (!text.empty()) fail("{}: does not belong to the table of {}: {}", path.string(), manifest_path, text);
  const auto bytes = entry.at("bytes").get<std::uint64_t>();
  if (const auto size = fs::file_size(path); size != bytes) {
    fail("{}: has {} bytes, {} lists {}; the shard was replaced", path.string(), size, manifest_path, bytes);
  }
  return shard;
}

/// Each open shard holds a file: asks for as many as the system allows.
void allow_open_files() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
}

}  // namespace

bool shard_is_complete(const std::filesystem::path& directory, const ShardPlan& plan, std::int64_t index,
                       const ShardHeader& expected, const std::vector<Column>& columns, std::string& why) {
  const std::filesystem::path path = directory / shard_name(index, plan.shards());
  why.clear();
  if (!fs::exists(path)) {
    why = "missing";
    return false;
  }
  try {
    const RowShard shard(path, expected.format);
    why = difference(shard_facts(shard.header(), shard.columns()), shard_facts(expected, columns));
  } catch (const Error& error) {
    why = error.what();
  }
  return why.empty();
}

RowTable::RowTable(const std::filesystem::path& directory, const std::string& expected_format)
    : directory_(directory), manifest_(load_manifest(directory, expected_format)) {
  try {
    plan_ = manifest_plan(manifest_);
    block_rows_ = manifest_.at("block_rows").get<std::int64_t>();
    allow_open_files();
    for (std::int64_t i = 0; i < plan_.shards(); ++i) {
      shards_.push_back(open_listed_shard(directory, manifest_, plan_, i));
    }
  } catch (const json::exception& error) {
    fail("{}: is incomplete: {}", (directory / manifest_name).string(), error.what());
  }
}

std::string RowTable::content_hash() const {
  std::string hashes;
  for (const auto& entry : manifest_.at("shards")) hashes += entry.at("hash").get<std::string>();
  return hash_text(hashes);
}

void RowTable::read(std::size_t column, std::int64_t first, std::int64_t count, std::span<std::byte> out) const {
  if (first < 0 || count < 0 || count > rows() - first || column >= columns().size() ||
      out.size() != static_cast<std::size_t>(count) * columns()[column].row_bytes()) {
    fail("{}: cannot read {} rows from row {} of column number {} into {} bytes; it has {} rows and {} columns",
         directory_.string(), count, first, column, out.size(), rows(), columns().size());
  }
  const std::size_t row_bytes = columns()[column].row_bytes();
  for (std::int64_t done = 0; done < count;) {
    const std::int64_t row = first + done;
    const std::int64_t index = row / plan_.shard_rows;
    const std::int64_t in_shard = row - plan_.first_row(index);
    const std::int64_t n = std::min(count - done, plan_.rows_of(index) - in_shard);
    shard(index).read(column, in_shard, n,
                      out.subspan(static_cast<std::size_t>(done) * row_bytes, static_cast<std::size_t>(n) * row_bytes));
    done += n;
  }
}

}  // namespace couplet
