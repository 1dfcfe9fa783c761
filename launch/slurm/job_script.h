// A stage's job script, made from the one template slurm/job.sh.
#pragma once

#include "launch/slurm/profile.h"
#include "launch/slurm/submission.h"

#include "pipeline/run/stage_record.h"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace couplet {

/// A stage that is to be a job.
struct StageJob {
  StageNode node;
  std::string reason;  ///< why it is to be run
  StageProfile profile;
  std::int64_t array = 0;  ///< tasks of a job array; 0: one job
  std::string script;      ///< the text of its script

  std::string flat() const { return flat_name(node.name); }
};

/// Returns slurm/job.sh of an installed program or of the source tree. Where it is in neither, an error lists where it
/// was looked for.
std::filesystem::path find_job_template();

/// Returns the script of a job, made from the template `text`. `run` has an absolute path; `directory` is where
/// relative paths of the configuration start.
std::string job_script(const std::string& text, const StageJob& job, const RunDirectory& run,
                       const std::filesystem::path& directory);

}  // namespace couplet
