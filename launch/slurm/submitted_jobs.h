// What is known of the jobs that a run's stages were submitted as: from RUN/slurm, and from Slurm as far as it answers.
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

/// The job, or the job array, that a stage was submitted as last.
struct StageJobView {
  SubmittedJob submitted;
  bool answered = false;                   ///< squeue answered: a job or task that is not in `queued` is over
  std::vector<QueuedJob> queued;           ///< waiting or running
  std::vector<QueuedJob> ended;            ///< over, and remembered by Slurm nevertheless
  std::vector<AccountedJob> accounted;     ///< sacct's view: may be wrong
  std::string cancelled;                   ///< who cancelled it; "" if nobody did
  std::optional<JobEnd> end;               ///< that the job's script, or that of one of its tasks that are over, left
  std::int64_t requeues = 0, retries = 0;  ///< over all tasks

  bool over() const { return answered && queued.empty(); }
  /// "123" or "123_[0-7]"
  std::string name() const;
  /// Of the jobs that run: "n1" or "n[1-2],n7"
  std::string nodes() const;
};

class SubmittedJobs {
public:
  /// Reads RUN/slurm and asks about the jobs of unfinished stages: squeue about all of them, sacct about those that
  /// squeue does not tell of. No scheduler: nobody is asked.
  SubmittedJobs(const RunDirectory& run, Scheduler* scheduler,
                const std::function<bool(const std::string& stage)>& unfinished);

  /// Nothing for a stage that was never submitted.
  const StageJobView* of(const std::string& stage) const;
  /// The stage that a job was submitted for; "" if none was.
  std::string stage_of(const std::string& job) const;
  bool empty() const { return views_.empty(); }

  bool asked() const { return asked_; }
  /// Why Slurm could not be asked, or did not answer; "" if it did, or nobody wanted to know.
  const std::string& silence() const { return silence_; }

private:
  void ask(Scheduler& scheduler, const std::function<bool(const std::string&)>& unfinished);

  std::map<std::string, StageJobView> views_;
  std::map<std::string, std::string> stages_;  ///< by job id, all submissions
  bool asked_ = false;
  std::string silence_;
};

/// The files into which a job's script and launcher have written, oldest first: those of all submissions of a stage,
/// all tasks of its arrays.
std::vector<std::filesystem::path> job_outputs(const RunDirectory& run, const std::string& stage);
/// The output of one submission, oldest first: empty while it has never run.
std::vector<std::filesystem::path> submission_outputs(const RunDirectory& run, const SubmittedJob& job);

}  // namespace couplet
