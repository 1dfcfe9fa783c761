// Where a run stands: every stage of it, from the run directory and, as far as it answers, from Slurm.
#pragma once

#include "launch/status/stage_standing.h"
#include "pipeline/run/run_directory.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace couplet {

struct StageStatus {
  std::string name;
  StageVerdict verdict;
  StageWork work;
  double seconds = 0;  ///< it has worked, over all attempts
  std::int64_t attempts = 0, ranks = 0;
  std::string holder;  ///< of its lock
  std::optional<StageJobView> job;
};

struct RunStatus {
  std::string root;
  std::string holder;   ///< of the run directory: `couplet run`, or a stage's job
  std::string silence;  ///< why Slurm could not be asked; "" if it answered, or there was nothing to ask
  std::vector<StageStatus> stages;

  /// Nobody works on it or will without being asked.
  bool at_rest() const;
  bool is_complete() const;
};

/// A run directory without config.ini is refused. No scheduler: nobody is asked, and what Slurm would know is left
/// open.
RunStatus run_status(const RunDirectory& run, Scheduler* scheduler);

}  // namespace couplet
