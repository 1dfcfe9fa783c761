// Who looks, while ranks wait in a collective, for those that keep them waiting.
#pragma once

#include "pipeline/liveness/absence.h"
#include "pipeline/liveness/job_heartbeats.h"

#include <optional>
#include <string>
#include <vector>

namespace couplet {

/// The lowest rank that has waited for half of the timeout, and gives signs of life, looks at the heartbeats of all,
/// and judges for whoever has waited longest. The others look for a lower rank that may be that one: the lowest waiting
/// one of each node reads the files of the nodes before its own, the nearest first, until it has found one. So two
/// files a node are read for a look, of which Patience tells how often, where nodes whose ranks wait stand together.
class Lookout {
public:
  using Time = JobHeartbeats::Time;

  Lookout(JobHeartbeats heartbeats, const Patience& patience);
  /// Returns why all ranks should end, once this rank, which looks for all, knows a reason (reason_to_end). It is
  /// called with the rank's own heartbeat, about twice a period.
  std::optional<std::string> look(const Heartbeat& own, Time now);
  /// This process was stopped for a while: what it has seen of the others is of another time.
  void forget();

private:
  bool is_due(double waited, Time now);
  bool see_all(Time now);
  bool see(std::size_t node, Time now);
  bool waits(const RankView& view) const;
  std::optional<std::string> judge(const Heartbeat& own) const;

  JobHeartbeats heartbeats_;
  Patience patience_;
  std::vector<RankView> others_;
  std::vector<Time> changed_;  ///< when each other rank's heartbeat was last seen to change; Time{}: not seen yet
  Time looked_{};              ///< when this rank, waiting, last looked
};

}  // namespace couplet
