// Slurm's commands. Each is a process of its own whose time is bounded, as a controller that is down makes them hang.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace couplet {

/// A job, or one task of a job array, as squeue reports it.
struct QueuedJob {
  std::string id;             ///< of the job; for a task, of the array as a whole
  std::string array_task;     ///< the number of the task; "" for a job that is no array
  std::string state;          ///< PENDING, RUNNING, COMPLETING, ...
  std::string reason;         ///< why it waits, or ended: "Priority", "DependencyNeverSatisfied"; "" for None
  std::string nodes;          ///< "n[1-2]"; "" while it has none
  double start = 0;           ///< the Unix time at which it started, or is expected to; 0: nobody knows
  double seconds_left = -1;   ///< of its time limit; -1: it has no limit, or it is unknown
  std::int64_t restarts = 0;  ///< how often Slurm has queued it again

  /// "123" or "123_4"
  std::string name() const { return array_task.empty() ? id : id + "_" + array_task; }
  /// True if it has ended and will not go on. A job that waits after a requeue has not.
  bool over() const;
};

/// A job, or one task of an array, as sacct reports it: the last run of a job that was requeued.
struct AccountedJob {
  std::string id, array_task;
  std::string state;  ///< COMPLETED, FAILED, CANCELLED, TIMEOUT, NODE_FAIL, OUT_OF_MEMORY, ...
};

/// What a signal is sent to.
enum class SignalTarget {
  steps,  ///< what srun started: the ranks
  batch   ///< the job's script
};

/// Only `submit` throws because Slurm is not installed, says no or does not answer. After the other calls `why()` says
/// what was wrong.
class Scheduler {
public:
  /// squeue and sacct have `patience_seconds` to answer. sbatch and scancel have a minute: if they were killed, nobody
  /// would know whether they did it.
  explicit Scheduler(double patience_seconds = 4) : patience_(patience_seconds) {}

  /// True if sbatch and squeue are on PATH.
  bool installed() const;

  /// Returns those of the jobs that wait or run, with an entry for each task of an array. A job that squeue does not
  /// know any more, or knows as over, is not among them. Returns no value if there is no answer, so that nothing is
  /// known.
  std::optional<std::vector<QueuedJob>> queue(const std::vector<std::string>& ids);
  /// The jobs that are over and that the last `queue` saw nevertheless: Slurm remembers them for a few minutes.
  const std::vector<QueuedJob>& ended() const { return ended_; }

  /// Returns what sacct has of the jobs, or no value if there is no accounting or no answer. It may be behind,
  /// incomplete or wrong: it adds words and decides nothing.
  std::optional<std::vector<AccountedJob>> accounting(const std::vector<std::string>& ids);

  /// Calls sbatch --parsable ARGUMENTS and returns the job's id. A refusal is an Error with sbatch's own words. The job
  /// asks for what its script says, whatever SBATCH_*, SRUN_* and SLURM_* of this process say; they do not reach it.
  std::string submit(const std::vector<std::string>& arguments);

  /// Cancels the jobs ("123", or "123_4" for one task); those that are over already are no failure. Returns false if it
  /// failed: see `why()`.
  bool cancel(const std::vector<std::string>& ids);
  /// Sends a signal ("USR1") to a job that runs. Returns false if it failed: see `why()`.
  bool signal(const std::string& id, const std::string& signal, SignalTarget target);

  /// Says in one line why the last call had no answer, or failed; "" if it did not.
  const std::string& why() const { return why_; }

private:
  double patience_;
  std::vector<QueuedJob> ended_;
  std::string why_;
};

}  // namespace couplet
