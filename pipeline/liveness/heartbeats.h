// Whether the ranks of a job get on, and which of them does not, by their heartbeats.
#pragma once

#include "pipeline/liveness/heartbeat_files.h"

#include <string>
#include <vector>

namespace couplet {

/// What is tolerated before a job is called stuck.
struct HeartbeatLimits {
  double silent = 60;  ///< seconds without a heartbeat
  double slow = 300;   ///< seconds of computing or waiting without progress
};

/// The last heartbeats of the ranks of one job.
struct Heartbeats {
  std::vector<Heartbeat> ranks;

  /// Seconds since the newest heartbeat; a huge number if there is none.
  double age(double now) const;
  /// True if some rank has written a heartbeat lately and has not come to its end.
  bool alive(double now, const HeartbeatLimits& limits) const;
  /// Says which rank keeps the job from getting on and what it did last; "" if all ranks get on, or nothing is known. A
  /// rank that works alone may take its time, as the other ranks' watchdogs let it.
  std::string trouble(double now, const HeartbeatLimits& limits) const;
};

/// "rank 2 (process 4711 on node7) has been computing for 3m 10s (step 12 of 400)"
std::string activity_text(const Heartbeat& heartbeat, double now);

}  // namespace couplet
