// The status of every stage of a run, from the run directory and, as far as it answers, from Slurm.
#pragma once

#include "launch/status/stage_status.h"
#include "pipeline/run/run_directory.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace couplet {

struct StageOverview {
  std::string name;
  ExplainedStatus explained;
  StageWork work;
  double seconds = 0;  ///< how long it has worked, over all attempts
  std::int64_t attempts = 0, ranks = 0;
  std::string holder;  ///< who holds its lock; "" if nobody does
  std::optional<StageJobView> job;
};

struct RunStatus {
  std::string root;
  std::string holder;   ///< who holds the run directory: `couplet run`, or a stage's job
  std::string silence;  ///< why Slurm could not be asked; "" if it answered, or there was nothing to ask
  std::vector<StageOverview> stages;

  /// True if nobody works on the run, or will without being asked.
  bool at_rest() const;
};

/// Refuses a folder that is no run directory. Without a scheduler Slurm is not asked, and what it would know is left
/// open.
RunStatus run_status(const RunDirectory& run, Scheduler* scheduler);

}  // namespace couplet
