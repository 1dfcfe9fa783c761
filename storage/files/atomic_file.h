// Publication: a file or directory appears under its final name whole, or not at all.
#pragma once

#include "storage/filesystem.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace couplet {

/// A file (or directory) being written under a temporary name beside its final one. `commit` flushes it to disk,
/// renames it and flushes the directory: SIGKILL at any instant leaves the old artifact or the new one. Without
/// `commit` the temporary is removed by the destructor. Errors (full disk, missing directory) are thrown with path and
/// errno text.
class Pending {
public:
  explicit Pending(fs::path final_path);
  ~Pending();
  Pending(const Pending&) = delete;
  Pending& operator=(const Pending&) = delete;

  /// Where to write. For a directory artifact: create it, write files into it, then commit.
  const fs::path& path() const { return pending_; }
  /// Publishes. A final path that is a directory is replaced only if `replace` (the old one is renamed away first).
  void commit(bool replace = false);

private:
  fs::path final_;
  fs::path pending_;
  bool committed_ = false;
};

/// Publishes a small file whole.
void publish_file(const fs::path& path, std::string_view bytes);
/// The whole file as a string; an error that names it if it cannot be read.
std::string read_file(const fs::path& path);
/// fsync of one file or directory.
void sync_path(const fs::path& path);
enum class Ownership { sole, shared };
/// Removes temporaries that killed writers left in `directory` (not recursive). Only for the directory's owner; one
/// that shares it with writers on other hosts removes only what this host's dead processes left.
void remove_leftovers(const fs::path& directory, Ownership ownership = Ownership::sole);
/// Fails, naming both figures, if less than `bytes` is free on the file system of `directory`.
void require_free_space(const fs::path& directory, std::uint64_t bytes, std::string_view what);

}  // namespace couplet
