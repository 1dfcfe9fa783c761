// Which ranks keep the others waiting, judged from what every rank notes about itself.
#pragma once

#include "pipeline/liveness/rank_board.h"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

namespace couplet {

/// What one rank knows of another.
struct RankView {
  int rank = 0;
  std::optional<RankRecord> record;  ///< the last one read; none was ever there
  double silent = 0;                 ///< seconds for which it has not changed
};

/// What is tolerated, in seconds, so that all have ended when `timeout` is over.
struct Patience {
  double timeout = 0;  ///< pipeline.timeout

  /// Between two notes of a rank.
  double period() const { return std::min(1.0, timeout / 10); }
  /// In a collective, before one asks who is missing.
  double wait() const { return timeout - 2 * period(); }
  /// For a rank that computes, by its own note: that may be a period old, and the rank may have left the call before a
  /// little later than the one that waits.
  double compute() const { return timeout - 4 * period(); }
  /// Without a sign of life.
  double silent() const { return std::max(3 * period(), timeout / 4); }
};

/// Why a rank that has waited in a collective for `patience.wait()` or longer should wait no more: "rank 2 did not
/// arrive at ...", with what each missing rank does. Nothing while those that are missing are busy and alive, or have
/// not been at it long enough. `waiter` is its own record, `others` all others'.
std::optional<std::string> absence(const RankRecord& waiter, const std::vector<RankView>& others,
                                   const Patience& patience);

}  // namespace couplet
