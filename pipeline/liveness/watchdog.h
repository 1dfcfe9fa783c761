// Ends all ranks when one of them keeps the others waiting in a collective for too long.
#pragma once

#include "pipeline/liveness/absence.h"
#include "pipeline/liveness/heartbeat_files.h"

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace couplet {

/// A thread that writes this rank's heartbeats and, when the rank has waited in a collective for almost `timeout`
/// seconds, reads those of the other ranks. If they explain the wait (pipeline/liveness/absence.h), one rank prints a
/// line that says who did not arrive at which collective, and every process ends with status 1. No destructor runs then
/// and no MPI call is made, as the stuck thread may be inside one; the launcher ends what is left.
class Watchdog {
public:
  /// `files` are those of all `ranks` ranks (make_heartbeat_files). A rank that is alone only writes heartbeats.
  Watchdog(HeartbeatFiles files, int rank, int ranks, double timeout);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

private:
  using Clock = std::chrono::steady_clock;

  void watch();
  void look_at_others(const Heartbeat& own, Clock::time_point now);
  [[noreturn]] void end_all(const std::string& reason) const;
  /// After an exception on its thread, which must not end the process without a word.
  [[noreturn]] void give_up(const std::string& reason) const;

  HeartbeatFiles files_;
  int rank_;
  Patience patience_;
  double late_ = 0;  ///< seconds by which this rank looks later than it could
  std::vector<RankView> others_;
  std::vector<Clock::time_point> changed_;  ///< when each other rank's heartbeat was last seen to change
  Clock::time_point looked_{};              ///< when this rank, waiting, last read the others' heartbeats

  std::mutex mutex_;
  std::condition_variable stopping_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace couplet
