// What the ranks of a stage note about themselves once a second, read as a sign of life: whether they get on, and which
// of them does not.
#pragma once

#include "pipeline/liveness/rank_board.h"

#include <string>
#include <vector>

namespace couplet {

/// What may pass without anybody calling it stuck.
struct PulseLimits {
  double silent = 60;  ///< seconds without a note
  double slow = 300;   ///< seconds of computing or waiting without progress
};

/// The ranks of one attempt.
struct Pulse {
  std::vector<RankRecord> ranks;

  /// Seconds since the newest note; a huge number if there is none.
  double age(double now) const;
  /// Some rank has noted something lately, and not that it ended.
  bool alive(double now, const PulseLimits& limits) const;
  /// Which rank keeps the attempt from getting on and what it did last; "" if all do, or nothing is known. A rank that
  /// is busy on its own may take its time, as the others' watchdogs let it.
  std::string trouble(double now, const PulseLimits& limits) const;
};

/// "rank 2 (process 4711 on node7) has been computing for 3m 10s (step 12 of 400)"
std::string activity_text(const RankRecord& record, double now);

}  // namespace couplet
