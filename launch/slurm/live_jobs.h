// Which jobs of a run wait or run now.
#pragma once

#include "launch/slurm/scheduler.h"
#include "launch/slurm/submission.h"

#include <string>
#include <vector>

namespace couplet {

/// A submitted job that is not over, with what squeue says of it, or of each task of its array that is not over.
struct LiveJob {
  SubmittedJob submitted;
  std::vector<QueuedJob> queued;

  /// "student/nf-0 (job 123, RUNNING on n1)"
  std::string text() const;
};

/// Returns them in the order of submission. It is an error (status 1) if Slurm is not there or does not answer.
std::vector<LiveJob> live_jobs(const SlurmFiles& files, Scheduler& scheduler);

/// "student/nf-0 (job 123, RUNNING on n1), ..."
std::string jobs_text(const std::vector<LiveJob>& jobs);
/// Refuses to go on while there are jobs, naming them.
void require_no_jobs(const std::vector<LiveJob>& jobs, const SlurmFiles& files, const std::string& other_way = "");

/// Cancels jobs: first marks them in RUN/slurm, with `who` did it, so that none queues itself again, then calls
/// scancel.
void cancel_jobs(const std::vector<LiveJob>& jobs, const SlurmFiles& files, Scheduler& scheduler,
                 const std::string& who);
/// Waits until no job of the run is left; an error names those that stay for `seconds`.
void wait_for_end(const SlurmFiles& files, Scheduler& scheduler, double seconds);

}  // namespace couplet
