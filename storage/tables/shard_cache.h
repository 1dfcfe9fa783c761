// Local copies of shards that lie on a slow file system, in a directory that the processes of a host share.
#pragma once

#include "storage/files/file_handle.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <set>
#include <string>

namespace couplet {

/// A copy is named by the content hash of its shard and made under a temporary name; it is published only if its bytes
/// have that hash. One process at a time looks, makes room and copies while the others wait. How much all copies take
/// is noted in the lock's file, so that the directory is listed when a cache is opened and where room has to be made,
/// but not for each shard.
class ShardCache {
public:
  using Note = std::function<void(const std::string&)>;

  /// Makes the directory; one that cannot be made or written to is an error. All copies together may take `bytes`.
  /// `table` holds the content hashes of the shards that will be asked for, which do not make room for each other.
  /// `note` is called with the reason where a shard is not kept here.
  ShardCache(std::filesystem::path directory, std::uint64_t bytes, std::set<std::string> table, Note note);

  /// Returns the copy of `shard`, which has this content hash and size, or `shard` itself where it does not fit or
  /// cannot be copied. With `check`, a copy that is there already is compared with its hash, not with its size only.
  std::filesystem::path copy_of(const std::filesystem::path& shard, const std::string& hash, std::uint64_t bytes,
                                bool check);
  /// Removes a copy that turned out to be damaged.
  void drop(const std::filesystem::path& copy, const std::string& why);

private:
  bool make_room(std::uint64_t bytes) const;
  void copy(const std::filesystem::path& shard, const std::filesystem::path& to, const std::string& hash) const;

  std::filesystem::path directory_;
  std::uint64_t bytes_;
  std::set<std::string> table_;
  Note note_;
  FileHandle lock_;
  bool full_ = false;  ///< the disk was full or the bound was reached, so that no further copies are made
};

}  // namespace couplet
