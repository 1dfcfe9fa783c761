#include "storage/tables/shard_cache.h"

#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/tables/shard_scan.h"

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <span>
#include <vector>

namespace couplet {
namespace {

constexpr const char* extension = ".h5";
constexpr std::size_t copied_piece_bytes = std::size_t{1} << 20;

/// The turn of one process; the kernel ends it when the process dies.
class CacheLock {
public:
  explicit CacheLock(const FileHandle& lock) : descriptor_(lock.descriptor()) {
    while (::flock(descriptor_, LOCK_EX) != 0)
      if (errno != EINTR) fail("storage.cache-dir: its lock cannot be taken: {}", errno_text(errno));
  }
  ~CacheLock() { ::flock(descriptor_, LOCK_UN); }
  CacheLock(const CacheLock&) = delete;
  CacheLock& operator=(const CacheLock&) = delete;

private:
  int descriptor_;
};

FileHandle open_lock(const fs::path& directory) {
  std::error_code error;
  fs::create_directories(directory, error);
  if (error) fail("{}: cannot be made for storage.cache-dir: {}", directory.string(), error.message());
  const fs::path path = directory / ".lock";
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor < 0) {
    fail(
        "{}: cannot be written to, so it cannot be storage.cache-dir: {}; choose another directory or leave the key "
        "empty",
        directory.string(), errno_text(errno));
  }
  return {path, descriptor};
}

/// Whether a file is the whole shard of this content hash: all of it is read.
bool is_sound(const fs::path& path, const std::string& hash) {
  try {
    const ShardScan scan = scan_shard(RowShard(path, ""));
    return scan.damaged.empty() && scan.content_hash == hash;
  } catch (const Error&) {
    return false;
  }
}

struct Copy {
  fs::path path;
  std::uint64_t bytes = 0;
  fs::file_time_type used;
};

/// Those used last at the end.
std::vector<Copy> copies_in(const fs::path& directory) {
  std::vector<Copy> copies;
  for (const auto& entry : fs::directory_iterator(directory))
    if (entry.path().extension() == extension && !entry.path().filename().string().starts_with("."))
      copies.push_back({entry.path(), entry.file_size(), entry.last_write_time()});
  std::ranges::sort(copies, {}, &Copy::used);
  return copies;
}

std::uint64_t bytes_of(const std::vector<Copy>& copies) {
  std::uint64_t bytes = 0;
  for (const Copy& copy : copies) bytes += copy.bytes;
  return bytes;
}

// What all copies take at the most stands in the lock's file: a process that was killed while it copied has noted more
// than there is.

std::uint64_t noted_bytes(const FileHandle& lock) {
  std::uint64_t bytes = 0;
  lock.read_at(std::as_writable_bytes(std::span(&bytes, 1)), 0);
  return bytes;
}

void note_bytes(const FileHandle& lock, std::uint64_t bytes) {
  lock.write_at(std::as_bytes(std::span(&bytes, 1)), 0);
}

}  // namespace

ShardCache::ShardCache(std::filesystem::path directory, std::uint64_t bytes, std::set<std::string> table, Note note)
    : directory_(std::move(directory)),
      bytes_(bytes),
      table_(std::move(table)),
      note_(std::move(note)),
      lock_(open_lock(directory_)) {
  const CacheLock held(lock_);
  remove_leftovers(directory_);
  try {
    note_bytes(lock_, bytes_of(copies_in(directory_)));
  } catch (const std::exception& error) {
    full_ = true;
    note_(fmt::format("{}; what is not in the cache yet is read from its place", error.what()));
  }
}

std::filesystem::path ShardCache::copy_of(const std::filesystem::path& shard, const std::string& hash,
                                          std::uint64_t bytes, bool check) {
  const fs::path kept = directory_ / (hash + extension);
  const CacheLock held(lock_);
  try {
    if (fs::exists(kept)) {
      if (fs::file_size(kept) == bytes && (!check || is_sound(kept, hash))) {
        fs::last_write_time(kept, fs::file_time_type::clock::now());
        return kept;
      }
      drop(kept, "it is not the shard that its name says");
    }
    if (full_) return shard;
    if (!make_room(bytes)) {
      full_ = true;
      note_(fmt::format(
          "{}: {} and what is not there yet do not fit into storage.cache-size and are read from their place",
          directory_.string(), shard.filename().string()));
      return shard;
    }
    copy(shard, kept, hash);
    return kept;
  } catch (const std::exception& error) {
    full_ = true;
    note_(fmt::format("{}; {} and what is not in the cache yet are read from their place", error.what(),
                      shard.filename().string()));
    return shard;
  }
}

void ShardCache::drop(const std::filesystem::path& copy, const std::string& why) {
  fs::remove(copy);
  note_(fmt::format("{}: removed from the cache: {}", copy.string(), why));
}

/// Removes the copies of other tables that were not used for the longest time until there is room, which is noted as
/// taken.
bool ShardCache::make_room(std::uint64_t bytes) const {
  if (const std::uint64_t noted = noted_bytes(lock_); noted + bytes <= bytes_) {
    note_bytes(lock_, noted + bytes);
    return true;
  }
  const std::vector<Copy> copies = copies_in(directory_);
  std::uint64_t taken = bytes_of(copies), can_go = 0;
  for (const Copy& copy : copies)
    if (!table_.contains(copy.path.stem().string())) can_go += copy.bytes;
  if (taken - can_go + bytes > bytes_) return false;
  for (const Copy& copy : copies) {
    if (taken + bytes <= bytes_) break;
    if (table_.contains(copy.path.stem().string())) continue;
    fs::remove(copy.path);
    taken -= copy.bytes;
  }
  note_bytes(lock_, taken + bytes);
  return true;
}

void ShardCache::copy(const std::filesystem::path& shard, const std::filesystem::path& to,
                      const std::string& hash) const {
  const FileHandle from = FileHandle::open_to_read(shard);
  Pending pending(to);
  FileHandle file = FileHandle::create(pending.path());
  std::vector<std::byte> piece(copied_piece_bytes);
  std::uint64_t offset = 0;
  while (const std::size_t n = from.read_some(piece, offset)) {
    const auto bytes = std::span(piece).first(n);
    file.write_at(bytes, offset);
    offset += n;
  }
  file.close();
  if (!is_sound(pending.path(), hash))
    fail("{}: is damaged, or not the shard that its manifest lists; `couplet verify` says which", shard.string());
  pending.commit();
}

}  // namespace couplet
