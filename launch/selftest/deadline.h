// Ends a selftest that waits for something that never comes.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

namespace couplet {

/// A thread that ends this process with status 1, and so under mpirun or srun all ranks, when a check is not done
/// within its time. The line on stderr says which process on which host waits in which check. MPI's own start can hang,
/// and a file system; the watchdog, which needs both, sees neither.
class Deadline {
public:
  /// The first check begins now. `who` this process is, for the line.
  Deadline(std::chrono::milliseconds each, std::string who, std::string check);
  ~Deadline();
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;

  /// From now on this process is known as `who`.
  void name(const std::string& who);
  /// The next check begins, with a time of its own.
  void begin(const std::string& check);

private:
  using Clock = std::chrono::steady_clock;

  void watch();

  const std::chrono::milliseconds each_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string who_, check_;
  Clock::time_point until_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace couplet
