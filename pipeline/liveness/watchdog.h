// Ends all ranks when one of them keeps the others waiting in a collective for too long.
#pragma once

#include "pipeline/liveness/absence.h"
#include "pipeline/liveness/job_heartbeats.h"
#include "pipeline/liveness/lookout.h"

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

namespace couplet {

/// A thread that tells this rank's heartbeats and, when the rank has waited in a collective for almost `timeout`
/// seconds, looks at those of the other ranks (Lookout). If they explain the wait (pipeline/liveness/absence.h), one
/// rank prints a line that says who did not arrive at which collective, and every process ends with status 1. No
/// destructor runs then and no MPI call is made, as the stuck thread may be inside one; the launcher ends what is left.
class Watchdog {
public:
  /// `heartbeats` are those of all ranks (make_job_heartbeats). A rank that is alone only tells its own.
  Watchdog(JobHeartbeats heartbeats, double timeout);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

private:
  using Clock = std::chrono::steady_clock;

  void watch();
  [[noreturn]] void end_all(const std::string& reason) const;
  /// After an exception on its thread, which must not end the process without a word.
  [[noreturn]] void give_up(const std::string& reason) const;

  JobHeartbeats heartbeats_;
  Patience patience_;
  Lookout lookout_;

  std::mutex mutex_;
  std::condition_variable stopping_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace couplet
