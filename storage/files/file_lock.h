// Who owns a run directory or a stage: locks that the kernel gives back when their holder dies, also on network file
// systems.
#pragma once

#include <filesystem>
#include <string>

namespace couplet {

/// Seconds within which the ranks of a killed launcher, or of a cancelled job, give their locks back.
inline constexpr double orphan_seconds = 30;

enum class LockMode { shared, exclusive };

/// A POSIX record lock (fcntl) on a whole file, held until destruction or the end of the process. Such locks belong to
/// the process: it must open a lock file once only, and its threads and children do not hold it. An exclusive holder
/// writes who it is into the file (host, process, start time, Slurm job, command); a shared one adds a line.
class FileLock {
public:
  /// Takes the lock, waiting up to `wait_seconds` for holders to go. Where one stays: an error "<what> in use by ..."
  /// (status 1). A file system without locks is an error that says so.
  FileLock(const std::filesystem::path& path, LockMode mode, const std::string& what, double wait_seconds = 0);
  ~FileLock();
  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&&) = delete;

  /// Turns an exclusive lock into a shared one, without a moment in between.
  void share();

  /// Who holds the file now, as text for the user; "" if nobody does (or there is no such file). Not for a file this
  /// process has locked.
  static std::string holder(const std::filesystem::path& path);

private:
  std::filesystem::path path_;
  int descriptor_ = -1;
};

}  // namespace couplet
