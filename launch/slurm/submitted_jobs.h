// What is known of the jobs that were submitted for a run's stages, from RUN/slurm and, as far as it answers, from
// Slurm.
#pragma once

#include "launch/slurm/job_end.h"
#include "launch/slurm/scheduler.h"
#include "launch/slurm/submission.h"
#include "pipeline/run/run_directory.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace couplet {

/// The job, or the job array, that was submitted last for a stage.
struct StageJobView {
  SubmittedJob submitted;
  bool answered = false;                   ///< squeue answered: a job or task that is not in `queued` is over
  std::vector<QueuedJob> queued;           ///< waiting or running
  std::vector<QueuedJob> ended;            ///< over, and remembered by Slurm nevertheless
  std::vector<AccountedJob> accounted;     ///< what sacct says, which may be wrong
  std::string cancelled;                   ///< who cancelled it; "" if nobody did
  std::optional<JobEnd> end;               ///< what the job's script left, or that of a task that is over
  std::int64_t requeues = 0, retries = 0;  ///< over all tasks

  /// "123" or "123_[0-7]"
  std::string name() const;
  /// The nodes of the jobs that run: "n1" or "n[1-2],n7"
  std::string nodes() const;
};

class SubmittedJobs {
public:
  /// Reads RUN/slurm, and asks squeue about the jobs of unfinished stages and sacct about those of which squeue knows
  /// nothing. Without a scheduler nobody is asked.
  SubmittedJobs(const RunDirectory& run, Scheduler* scheduler,
                const std::function<bool(const std::string& stage)>& unfinished);

  /// Returns null for a stage that was never submitted.
  const StageJobView* of(const std::string& stage) const;
  /// Returns the stage for which a job was submitted; "" if there is none.
  std::string stage_of(const std::string& job) const;
  /// Says why Slurm could not be asked, or did not answer; "" if it answered, or nobody wanted to know.
  const std::string& silence() const { return silence_; }

private:
  void ask(Scheduler& scheduler, const std::function<bool(const std::string&)>& unfinished);

  std::map<std::string, StageJobView> views_;
  std::map<std::string, std::string> stages_;  ///< of all submissions, by job id
  std::string silence_;
};

/// The files into which the scripts and launchers of a stage's jobs have written, oldest first, over all submissions
/// and all tasks of arrays.
std::vector<std::filesystem::path> job_outputs(const RunDirectory& run, const std::string& stage);
/// Those of one submission, oldest first. There are none while it has never run.
std::vector<std::filesystem::path> submission_outputs(const RunDirectory& run, const SubmittedJob& job);

}  // namespace couplet
