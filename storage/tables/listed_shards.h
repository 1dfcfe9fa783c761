// The shards of a finished table, each opened when it is first read.
#pragma once

#include "storage/files/file_handle.h"
#include "storage/tables/row_shard.h"
#include "storage/tables/shard_cache.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace couplet {

/// How a table is read.
struct ReadOptions {
  bool verify = true;  ///< the checksum of every row, or block, that is read is compared
  std::filesystem::path
      cache_dir;                  ///< shards are copied here before they are read; empty: they are read where they lie
  std::uint64_t cache_bytes = 0;  ///< bytes that the copies may take
  std::function<void(const std::string&)> note = [](const std::string&) {
  };                        ///< is called with what a user should know, a line
  bool is_foreign = false;  ///< the table may be anybody's: a child process opens each shard first

  static ReadOptions foreign() {
    ReadOptions options;
    options.is_foreign = true;
    return options;
  }
};

/// Opens shards and compares each with the manifest. Those used last stay open, within a bound that leaves the process
/// most of the files that the system allows it. Safe to call from several threads.
class ListedShards {
public:
  /// With a cache, a shard that is not in it yet is copied when it is first opened. `manifest` was checked.
  ListedShards(std::filesystem::path directory, const nlohmann::json& manifest, const ReadOptions& options);

  /// Returns a shard, which stays open while the caller holds it. One that is missing or does not belong there is an
  /// error that names both sides.
  std::shared_ptr<const RowShard> open(std::int64_t index);

private:
  struct Open {
    std::int64_t index = 0;
    std::shared_ptr<const RowShard> shard;
  };
  RowShard open_anew(std::int64_t index);

  std::filesystem::path directory_;
  nlohmann::json manifest_;
  bool verify_, is_foreign_;
  std::optional<ShardCache> cache_;
  std::vector<std::filesystem::path> copies_;  ///< in the cache, or where the shard lies; "" until it is opened
  std::size_t most_open_;
  std::mutex mutex_;
  std::list<Open> open_;  ///< the one used last in front
  std::map<std::int64_t, std::list<Open>::iterator> places_;
};

}  // namespace couplet
