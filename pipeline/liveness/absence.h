// Which ranks keep the others waiting, by their heartbeats.
#pragma once

#include "pipeline/liveness/heartbeat.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace couplet {

/// What one rank knows of another.
struct RankView {
  int rank = 0;
  std::optional<Heartbeat> heartbeat;  ///< the last one that was read; nothing if there has never been one
  double silent = 0;                   ///< seconds for which it has not changed
};

/// What is tolerated, in seconds, so that all ranks have ended when `timeout` is over.
struct Patience {
  double timeout = 0;     ///< pipeline.timeout
  std::size_t nodes = 1;  ///< of the job

  /// Between two writes of a node's heartbeats: a second, and more where there are many nodes, so that all together
  /// write no more than 64 a second to the file system that they share. A rank tells its heartbeat twice as often.
  double period() const { return std::min(std::clamp(static_cast<double>(nodes) / 64, 1.0, 20.0), timeout / 10); }
  /// Between two looks at the others, which read two files a node: no more than 32 a second where that is possible.
  double look() const { return std::clamp(static_cast<double>(nodes) / 16, timeout / 40, timeout / 10); }
  /// Waiting in a collective, before a rank asks who is missing.
  double wait() const { return timeout - 2 * period(); }
  /// Computing, by a rank's own heartbeat. That may be one and a half periods old, and the rank may have left the call
  /// before a little later than the one that waits.
  double compute() const { return timeout - 4 * period(); }
  /// Without a heartbeat.
  double silent() const { return std::max(3 * period(), timeout / 4); }
};

/// Explains why a rank that has waited in a collective for `patience.wait()` or longer should wait no more: "rank 2 did
/// not arrive at ...", with what each missing rank does. Returns nothing while the missing ranks work alone and are
/// alive, or have not been at it long enough. `waiter` is the waiting rank's own heartbeat; `others` are all other
/// ranks.
std::optional<std::string> reason_to_end(const Heartbeat& waiter, const std::vector<RankView>& others,
                                         const Patience& patience);

}  // namespace couplet
