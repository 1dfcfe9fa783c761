#include "storage/files/atomic_file.h"

#include "storage/error.h"
#include "storage/files/file_counts.h"
#include "storage/files/file_handle.h"
#include "storage/host_name.h"
#include "storage/local_process.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <system_error>
#include <utility>
#include <vector>

namespace couplet {
namespace {

constexpr std::string_view partial_prefix = ".partial-";
constexpr std::string_view replaced_prefix = ".replaced-";  ///< a folder that holds what is being replaced
constexpr std::size_t longest_file_name = 255 - 16;  ///< bytes: what file systems allow, less what libraries append
constexpr std::ptrdiff_t most_flushed_apart = 256;   ///< entries of a directory

fs::path parent_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

/// A name beside `final_path` that nothing has: '.partial-<host>-<pid>-<n>-<final name>', whose end may be cut.
fs::path temporary_path(std::string_view prefix, const fs::path& final_path) {
  static std::atomic<unsigned> counter{0};
  std::error_code error;
  fs::path path;
  do {
    const std::string name =
        fmt::format("{}{}-{}-{}-{}", prefix, host_name(), ::getpid(), counter++, final_path.filename().string());
    path = parent_of(final_path) / name.substr(0, longest_file_name);
  } while (fs::exists(fs::symlink_status(path, error)));
  return path;
}

std::string with_this_host(std::string_view prefix) {
  return fmt::format("{}{}-", prefix, host_name());
}

/// True if the temporary's name says that a process that runs on this host now made it.
bool made_by_running_process(const std::string& name, std::string_view prefix_of_all) {
  const std::string prefix = with_this_host(prefix_of_all);
  if (!name.starts_with(prefix)) return false;
  pid_t pid = 0;
  const auto [end, error] = std::from_chars(name.data() + prefix.size(), name.data() + name.size(), pid);
  if (error != std::errc() || pid <= 0 || *end != '-') return false;
  return process_runs(pid);
}

/// Older kernels flush a file system without saying what could not be written.
bool flushing_all_reports_errors() {
  struct utsname system {};
  int major = 0, minor = 0;
  return ::uname(&system) == 0 && std::sscanf(system.release, "%d.%d", &major, &minor) == 2 &&
         std::pair(major, minor) >= std::pair(5, 8);
}

/// Of everything on a directory's file system, in one call.
void sync_file_system(const fs::path& directory) {
  const FileHandle file = FileHandle::open_to_read(directory);
  count_sync();
  if (::syncfs(file.descriptor()) != 0)
    fail("{}: cannot be flushed to disk: {}", directory.string(), errno_text(errno));
}

/// Flushes a file, or a directory with everything in it. Each fsync waits for the disk: many files go together with
/// whatever else is to be written there.
void sync_tree(const fs::path& path) {
  if (fs::is_directory(fs::symlink_status(path))) {
    if (std::distance(fs::directory_iterator(path), {}) > most_flushed_apart && flushing_all_reports_errors())
      return sync_file_system(path);
    for (const auto& entry : fs::directory_iterator(path)) {
      if (!entry.is_symlink()) sync_tree(entry.path());
    }
  }
  sync_path(path);
}

void rename_or_fail(const fs::path& from, const fs::path& to) {
  count_rename();
  if (::rename(from.c_str(), to.c_str()) != 0) {
    fail("{}: cannot be published (renamed from {}): {}", to.string(), from.filename().string(), errno_text(errno));
  }
}

/// Puts directory `pending` in the place of directory `target`, whose old content is removed. Where the file system can
/// exchange two names there is no moment without a target; elsewhere the old one is moved into a folder of its own
/// first, from which `remove_leftovers` puts it back if this process is killed in between.
void replace_directory(const fs::path& pending, const fs::path& target) {
  if (::renameat2(AT_FDCWD, pending.c_str(), AT_FDCWD, target.c_str(), RENAME_EXCHANGE) == 0) {
    count_rename();
    sync_path(parent_of(target));
    fs::remove_all(pending);
    return;
  }
  const fs::path holder = temporary_path(replaced_prefix, target);
  fs::create_directory(holder);
  rename_or_fail(target, holder / target.filename());
  rename_or_fail(pending, target);
  sync_path(parent_of(target));
  fs::remove_all(holder);
}

/// The entries of `directory` itself with this prefix that no running process of this host has made, of other hosts
/// where the owner is the only one.
std::vector<fs::path> leftovers_in(const fs::path& directory, std::string_view prefix_of_all, Ownership ownership) {
  const std::string prefix = ownership == Ownership::sole ? std::string(prefix_of_all) : with_this_host(prefix_of_all);
  std::vector<fs::path> leftovers;
  for (const auto& entry : fs::directory_iterator(directory)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(prefix) && !made_by_running_process(name, prefix_of_all)) leftovers.push_back(entry.path());
  }
  return leftovers;
}

/// Puts what a killed process moved away back to its place, unless the new one is there.
void put_back(const fs::path& holder) {
  for (const auto& entry : fs::directory_iterator(holder)) {
    const fs::path target = parent_of(holder) / entry.path().filename();
    if (!fs::exists(fs::symlink_status(target))) rename_or_fail(entry.path(), target);
  }
  fs::remove_all(holder);
}

/// For crash tests: COUPLET_TEST_KILL_IN_PUBLISH=NAME:POINT kills this process at a point of the publication of the
/// first file whose name begins with NAME. Points: written (not flushed yet), synced (not renamed yet), renamed (the
/// directory not flushed yet), published.
void die_if_asked(const fs::path& path, std::string_view point) {
  const char* asked = std::getenv("COUPLET_TEST_KILL_IN_PUBLISH");
  if (asked == nullptr) return;
  const std::string_view text(asked);
  const std::size_t colon = text.rfind(':');
  const std::string name = path.filename().string();
  if (colon == std::string_view::npos || text.substr(colon + 1) != point || !name.starts_with(text.substr(0, colon)))
    return;
  ::fprintf(stderr, "couplet: killed as COUPLET_TEST_KILL_IN_PUBLISH asks: %s, %s\n", name.c_str(), asked + colon + 1);
  ::kill(::getpid(), SIGKILL);
}

}  // namespace

Pending::Pending(fs::path final_path) : final_(final_path.lexically_normal()) {
  if (!final_.has_filename()) final_ = final_.parent_path();
  if (!final_.has_filename()) fail("'{}': is no name to publish under", final_path.string());
  std::error_code error;
  if (!fs::exists(final_, error) && error == std::errc::filename_too_long)
    fail("{}: cannot be written: {}; choose another name", final_.string(), error.message());
  if (!fs::is_directory(parent_of(final_), error)) {
    fail("{}: cannot be written: there is no directory {}; create it first", final_.string(),
         parent_of(final_).string());
  }
  pending_ = temporary_path(partial_prefix, final_);
}

Pending::~Pending() {
  std::error_code ignored;
  if (!committed_) fs::remove_all(pending_, ignored);
}

void Pending::commit(bool replace) {
  if (committed_) fail("{}: was published already", final_.string());
  die_if_asked(final_, "written");
  sync_tree(pending_);
  die_if_asked(final_, "synced");
  const bool over_directory = fs::is_directory(final_);
  if (over_directory && !replace) {
    fail("{}: exists already and is not overwritten; remove it or choose another place", final_.string());
  }
  if (over_directory && fs::is_directory(pending_)) {
    replace_directory(pending_, final_);
  } else {
    rename_or_fail(pending_, final_);
    die_if_asked(final_, "renamed");
    sync_path(parent_of(final_));
  }
  committed_ = true;
  die_if_asked(final_, "published");
}

void publish_file(const fs::path& path, std::string_view bytes) {
  Pending pending(path);
  FileHandle file = FileHandle::create(pending.path());
  file.write_at(std::as_bytes(std::span(bytes.data(), bytes.size())), 0);
  file.close();
  pending.commit();
}

std::string read_file(const fs::path& path) {
  const FileHandle file = FileHandle::open_to_read(path);
  std::string text(file.size(), '\0');
  file.read_at(std::as_writable_bytes(std::span(text.data(), text.size())), 0);
  return text;
}

void sync_path(const fs::path& path) {
  const FileHandle file = FileHandle::open_to_read(path);
  count_sync();
  // Some network file systems cannot flush a directory and say so with EINVAL; there the rename itself is synchronous.
  if (::fsync(file.descriptor()) != 0 && !(errno == EINVAL && fs::is_directory(path))) {
    fail("{}: cannot be flushed to disk: {}", path.string(), errno_text(errno));
  }
}

void remove_leftovers(const fs::path& directory, Ownership ownership) {
  for (const auto& path : leftovers_in(directory, replaced_prefix, ownership)) put_back(path);
  for (const auto& path : leftovers_in(directory, partial_prefix, ownership)) fs::remove_all(path);
}

void require_free_space(const fs::path& directory, std::uint64_t bytes, std::string_view what) {
  struct statvfs status {};
  if (::statvfs(directory.c_str(), &status) != 0) {
    fail("{}: cannot find the free space: {}", directory.string(), errno_text(errno));
  }
  const std::uint64_t available = std::uint64_t{status.f_bavail} * status.f_frsize;
  if (available < bytes) {
    fail(
        "{}: {} needs {} bytes ({:.1f} GiB), but only {} ({:.1f} GiB) are free there; free some or choose another disk",
        directory.string(), what, bytes, static_cast<double>(bytes) / 0x1p30, available,
        static_cast<double>(available) / 0x1p30);
  }
}

}  // namespace couplet
