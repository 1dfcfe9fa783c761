// Publication: a file or directory appears under its final name whole, or not at all.
#pragma once

#include "storage/filesystem.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace couplet {

/// A file (or directory) that is written under a temporary name beside its final one. `commit` flushes it to the disk,
/// renames it and flushes the directory: SIGKILL at any instant leaves the old artifact or the new one. Without
/// `commit` the destructor removes the temporary one. Errors (full disk, missing directory) name the path and the
/// system's reason.
class Pending {
public:
  explicit Pending(fs::path final_path);
  ~Pending();
  Pending(const Pending&) = delete;
  Pending& operator=(const Pending&) = delete;

  /// Where to write. A directory is created there by the caller, who writes files into it and then commits.
  const fs::path& path() const { return pending_; }
  /// Publishes. A directory at the final path is replaced only if `replace`; it is renamed away first.
  void commit(bool replace = false);

private:
  fs::path final_;
  fs::path pending_;
  bool committed_ = false;
};

/// Publishes a small file whole.
void publish_file(const fs::path& path, std::string_view bytes);
/// Reads a whole file. One that cannot be read is an error that names it.
std::string read_file(const fs::path& path);
/// Flushes one file or directory to the disk (fsync).
void sync_path(const fs::path& path);
enum class Ownership { sole, shared };
/// Removes the temporaries that killed writers left in `directory` itself, and puts back what one of them had moved
/// away to replace it. Its sole owner removes all of them; one that shares it with writers on other hosts removes only
/// what this host's dead processes left.
void remove_leftovers(const fs::path& directory, Ownership ownership = Ownership::sole);
/// Fails, naming both figures, if less than `bytes` is free on the file system of `directory`.
void require_free_space(const fs::path& directory, std::uint64_t bytes, std::string_view what);

}  // namespace couplet
