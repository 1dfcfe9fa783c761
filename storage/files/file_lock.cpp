#include "storage/files/file_lock.h"

#include "storage/clock.h"
#include "storage/error.h"
#include "storage/files/file_handle.h"
#include "storage/host_name.h"

#include <fmt/format.h>

#include <fcntl.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string_view>
#include <system_error>
#include <thread>
#include <tuple>
#include <utility>

namespace couplet {

namespace {

struct flock whole_file(short type) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;  // from 0, length 0: to the end, however far it moves
  return lock;
}

bool try_lock(int descriptor, short type) {
  struct flock lock = whole_file(type);
  while (::fcntl(descriptor, F_SETLK, &lock) != 0) {
    if (errno == EACCES || errno == EAGAIN) return false;
    if (errno != EINTR) throw std::system_error(errno, std::generic_category());
  }
  return true;
}

/// The command line of this process.
std::string command_text() {
  std::ifstream file("/proc/self/cmdline");
  std::string text((std::istreambuf_iterator<char>(file)), {});
  while (text.ends_with('\0')) text.pop_back();
  for (char& letter : text)
    if (letter == '\0' || letter == '\n') letter = ' ';
  return text;
}

/// "process 123 on host1 since 2026-01-02 03:04:05 (Slurm job 77): couplet run ..."
std::string own_line() {
  const char* job = std::getenv("SLURM_JOB_ID");
  return fmt::format("process {} on {} since {}{}: {}\n", ::getpid(), host_name(), local_time_text(unix_now()),
                     job ? fmt::format(" (Slurm job {})", job) : "", command_text());
}

/// The line that process `pid` left in a lock file, else the last line: over the network the kernel's process number
/// may mean nothing.
std::string find_line(const std::filesystem::path& path, pid_t pid) {
  std::ifstream file(path);
  std::string found, last;
  for (std::string line; std::getline(file, line); last = line)
    if (line.starts_with(fmt::format("process {} ", pid))) found = line;
  if (!found.empty()) return found;
  return last.empty() ? fmt::format("process {}", pid) : last;
}

}  // namespace

FileLock::FileLock(const std::filesystem::path& path, LockMode mode, const std::string& what, double wait_seconds)
    : path_(path), descriptor_(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_APPEND, 0666)) {
  if (descriptor_ < 0) fail("cannot open the lock file {}: {}", path.string(), errno_text(errno));
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::duration<double>(wait_seconds);
  const short type = mode == LockMode::exclusive ? F_WRLCK : F_RDLCK;
  // Those who wait long, of whom there may be many on one file server, ask less often, and not all at once.
  auto pause = std::chrono::milliseconds(50 + ::getpid() % 17);
  try {
    while (!try_lock(descriptor_, type)) {
      if (std::chrono::steady_clock::now() >= deadline) {
        struct flock other = whole_file(type);
        ::fcntl(descriptor_, F_GETLK, &other);
        fail("{} is in use by {}", what, find_line(path, other.l_pid));
      }
      std::this_thread::sleep_for(pause);
      pause = std::min(pause * 5 / 4, std::chrono::milliseconds(2000));
    }
  } catch (const std::system_error& error) {
    ::close(std::exchange(descriptor_, -1));
    fail("{} cannot be locked ({}); a run directory needs a file system with POSIX locks (NFS: the lock service)",
         path.string(), error.code().message());
  } catch (...) {
    ::close(std::exchange(descriptor_, -1));
    throw;
  }
  // For messages only: a full disk must not take the lock away.
  const std::string line = own_line();
  if (mode == LockMode::exclusive) std::ignore = ::ftruncate(descriptor_, 0);
  std::ignore = ::write(descriptor_, line.data(), line.size());
}

FileLock::~FileLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

FileLock::FileLock(FileLock&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)) {}

void FileLock::share() {
  if (!try_lock(descriptor_, F_RDLCK))
    fail("{}: the exclusive lock could not be turned into a shared one", path_.string());
}

void FileLock::require_free(const std::filesystem::path& path, const std::string& what) {
  if (const std::string other = holder(path); !other.empty()) fail("{} is in use by {}", what, other);
}

std::string FileLock::holder(const std::filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return "";
  struct flock other = whole_file(F_WRLCK);
  const int result = ::fcntl(descriptor, F_GETLK, &other);
  ::close(descriptor);
  if (result != 0 || other.l_type == F_UNLCK) return "";
  return find_line(path, other.l_pid);
}

}  // namespace couplet
