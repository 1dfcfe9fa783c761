// Why a job stopped, as its script (slurm/job.sh) left it in RUN/slurm/NAME.reason: one JSON object,
//   {"time":1767323045,"stage":"teacher","state":"requeued","reason":"...","log":"/runs/x/log/slurm-teacher-12.out"}
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace couplet {

enum class JobEndState {
  requeued,   ///< Slurm was asked to queue it again, or does so itself: a time limit or a preemption
  retried,    ///< Slurm was asked to queue it again after a failure
  failed,     ///< it failed and is not queued again
  cancelled,  ///< by `couplet cancel` or scancel
  refused,    ///< the stage refused its command line or configuration
  stopped     ///< somebody asked it to stop, and it is not queued again
};

struct JobEnd {
  double time = 0;  ///< Unix time, by the job's first host
  std::string stage;
  JobEndState state = JobEndState::failed;
  std::string reason;  ///< one line for people
  std::filesystem::path log;

  /// Slurm will run the job again.
  bool goes_on() const { return state == JobEndState::requeued || state == JobEndState::retried; }
};

/// Nothing if there is no such file. One that is no such object counts as a failure whose reason is its first line.
std::optional<JobEnd> read_job_end(const std::filesystem::path& path);

}  // namespace couplet
