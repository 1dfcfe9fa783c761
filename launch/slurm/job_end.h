// Why a job stopped, as its script (slurm/job.sh) left it in RUN/slurm/NAME.reason: one JSON object,
//   {"time":1767323045,"stage":"teacher","state":"requeued","reason":"...","log":"/runs/x/log/slurm-teacher-12.out"}
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace couplet {

enum class JobEndState {
  requeued,   ///< it was stopped by a time limit or a preemption, and Slurm queues it again
  retried,    ///< it failed, and Slurm queues it again
  failed,     ///< it failed and is not queued again
  cancelled,  ///< `couplet cancel` or scancel ended it
  refused,    ///< the stage refused its command line or configuration
  stopped     ///< somebody asked it to stop, and it is not queued again
};

struct JobEnd {
  double time = 0;  ///< Unix time, by the job's first host
  std::string stage;
  JobEndState state = JobEndState::failed;
  std::string reason;  ///< one line for people
  std::filesystem::path log;

  /// True if Slurm will run the job again.
  bool goes_on() const { return state == JobEndState::requeued || state == JobEndState::retried; }
};

/// Returns nothing if there is no such file. A file that holds no such object counts as a failure, whose reason is its
/// first line.
std::optional<JobEnd> read_job_end(const std::filesystem::path& path);

}  // namespace couplet
