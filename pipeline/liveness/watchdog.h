// Ends all ranks when one of them keeps the others waiting in a collective for too long.
#pragma once

#include "pipeline/liveness/absence.h"
#include "pipeline/liveness/rank_board.h"

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace couplet {

/// A thread that notes on a board (pipeline/liveness/rank_board.h) what this rank does and, when this rank has waited
/// in a collective for almost `timeout` seconds, reads what the others do. If that explains it
/// (pipeline/liveness/absence.h), one rank prints a line that names who did not arrive at which collective, and every
/// process ends with status 1: no destructors, no MPI calls (the stuck thread may be inside one), so that the launcher
/// ends what is left.
class Watchdog {
public:
  /// `board` is one that all of the `ranks` ranks note on (make_board). A rank that is alone only notes what it does.
  Watchdog(RankBoard board, int rank, int ranks, double timeout);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

private:
  using Clock = std::chrono::steady_clock;

  void watch();
  void look_at_others(const RankRecord& own, Clock::time_point now);
  [[noreturn]] void end_all(const std::string& reason) const;

  RankBoard board_;
  int rank_;
  Patience patience_;
  std::vector<RankView> others_;
  std::vector<Clock::time_point> changed_;  ///< when each one's record was seen to change last
  Clock::time_point looked_{};              ///< at the others, while this rank waits

  std::mutex mutex_;
  std::condition_variable stopping_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace couplet
