#include "storage/tables/listed_shards.h"

#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/files/file_counts.h"
#include "storage/tables/filenames.h"
#include "storage/tables/table_manifest.h"

#include <sys/resource.h>

#include <algorithm>
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

/// Asks for as many open files as the system allows. Returns how many of them one table's shards may take.
std::size_t open_files_of_a_table() {
  constexpr rlim_t least = 16, most = 4096;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return least;
  if (limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
    ::getrlimit(RLIMIT_NOFILE, &limit);
  }
  // A process reads up to three tables at a time.
  return std::clamp(limit.rlim_cur / 4, least, most);
}

}  // namespace

ListedShards::ListedShards(std::filesystem::path directory, const json& manifest, const ReadOptions& options)
    : directory_(std::move(directory)),
      manifest_(manifest),
      verify_(options.verify),
      is_foreign_(options.is_foreign),
      most_open_(open_files_of_a_table()) {
  if (options.cache_dir.empty()) return;
  std::set<std::string> hashes;
  for (const json& entry : manifest_.at("shards")) hashes.insert(entry.at("hash").get<std::string>());
  cache_.emplace(options.cache_dir, options.cache_bytes, std::move(hashes), options.note);
  copies_.resize(manifest_.at("shards").size());
}

std::shared_ptr<const RowShard> ListedShards::open(std::int64_t index) {
  const std::scoped_lock lock(mutex_);
  if (const auto found = places_.find(index); found != places_.end()) {
    open_.splice(open_.begin(), open_, found->second);
    return open_.front().shard;
  }
  open_.push_front({index, std::make_shared<const RowShard>(open_anew(index))});
  places_[index] = open_.begin();
  if (open_.size() > most_open_) {
    places_.erase(open_.back().index);
    open_.pop_back();
  }
  return open_.front().shard;
}

RowShard ListedShards::open_anew(std::int64_t index) {
  const json& entry = manifest_.at("shards").at(static_cast<std::size_t>(index));
  const std::filesystem::path path = directory_ / entry.at("name").get<std::string>();
  const std::string manifest_path = (directory_ / manifest_name).string();
  count_look();
  if (!fs::exists(path)) fail("{}: is missing, but {} lists it; make it again", path.string(), manifest_path);
  if (cache_) {
    std::filesystem::path& copy = copies_.at(static_cast<std::size_t>(index));
    if (copy.empty())
      copy =
          cache_->copy_of(path, entry.at("hash").get<std::string>(), entry.at("bytes").get<std::uint64_t>(), !verify_);
    try {
      if (copy != path) return open_listed_shard(copy, manifest_path, manifest_, index, verify_);
    } catch (const Error& error) {
      cache_->drop(copy, error.what());
      copy = path;
    }
  }
  if (is_foreign_) open_foreign_shard(path, manifest_.at("format").get<std::string>());
  return open_listed_shard(path, manifest_path, manifest_, index, verify_);
}

}  // namespace couplet
