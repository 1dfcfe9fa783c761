// Locks by which processes own a run directory or a stage. The kernel gives them back when their holder dies, also on
// network file systems.
#pragma once

#include <filesystem>
#include <string>

namespace couplet {

/// Seconds within which the ranks of a killed launcher, or of a cancelled job, give their locks back.
inline constexpr double orphan_seconds = 30;

enum class LockMode { shared, exclusive };

/// A POSIX record lock (fcntl) on a whole file, held until its destruction or the end of the process. Such a lock
/// belongs to the process, which must open the file only once; its children do not hold it. An exclusive holder writes
/// who it is into the file (host, process, start time, Slurm job, command); a shared one adds a line.
class FileLock {
public:
  /// Takes the lock, and waits up to `wait_seconds` for other holders to go. A holder that stays is an error, "<what>
  /// in use by ..." (status 1); so is a file system without locks.
  FileLock(const std::filesystem::path& path, LockMode mode, const std::string& what, double wait_seconds = 0);
  ~FileLock();
  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&&) = delete;

  /// Turns an exclusive lock into a shared one; nobody else can take it in between.
  void share();

  /// Fails as the constructor does if somebody else holds the lock in either mode, but takes none and writes nothing:
  /// for those who only look.
  static void require_free(const std::filesystem::path& path, const std::string& what);
  /// Says who holds the file now, in a text for the user; "" if nobody does or there is no such file. It does not work
  /// for a file that this process has locked.
  static std::string holder(const std::filesystem::path& path);

private:
  std::filesystem::path path_;
  int descriptor_ = -1;
};

}  // namespace couplet
