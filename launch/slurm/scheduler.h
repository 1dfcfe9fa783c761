// Slurm's commands, each run as a process of its own whose time is bounded: a controller that is down makes them hang.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace couplet {

/// A job, or one task of a job array, as squeue tells it.
struct QueuedJob {
  std::string id;             ///< of the job; of the array as a whole, for a task
  std::string array_task;     ///< its number; "" for a job that is no array
  std::string state;          ///< PENDING, RUNNING, COMPLETING, ...
  std::string reason;         ///< why it waits, or ended: "Priority", "DependencyNeverSatisfied"; "" for None
  std::string nodes;          ///< "n[1-2]"; "" while it has none
  double start = 0;           ///< Unix time: when it started, or is expected to; 0: nobody knows
  double seconds_left = -1;   ///< of its time limit; -1: no limit, or unknown
  std::int64_t restarts = 0;  ///< times that Slurm has queued it again

  /// "123" or "123_4"
  std::string name() const { return array_task.empty() ? id : id + "_" + array_task; }
  /// It has ended and will not go on (a job that waits after a requeue has not).
  bool over() const;
};

/// A job, or one task of an array, as sacct tells it; of a job that was requeued, its last run.
struct AccountedJob {
  std::string id, array_task;
  std::string state;      ///< COMPLETED, FAILED, CANCELLED, TIMEOUT, NODE_FAIL, OUT_OF_MEMORY, ...
  std::string exit_code;  ///< "1:0": status:signal
  std::string nodes;
  double seconds = 0;  ///< it ran
};

/// What a signal is sent to.
enum class SignalTarget {
  steps,  ///< what srun started: the ranks
  batch,  ///< the job's script
  all     ///< both
};

/// Nothing here throws because Slurm is not installed, says no or does not answer, except `submit`. What it said then
/// is told by `why()`.
class Scheduler {
public:
  /// `patience_seconds`: for an answer of squeue or sacct. (sbatch and scancel are given a minute: one killed in
  /// between would leave open whether they did it.)
  explicit Scheduler(double patience_seconds = 4) : patience_(patience_seconds) {}

  /// sbatch and squeue are on PATH.
  bool installed() const;

  /// Those of the jobs that are not over: waiting or running, an entry for each task of an array. A job that squeue
  /// does not know any more, or knows as over, is not among them. No value: no answer, so that nothing is known.
  std::optional<std::vector<QueuedJob>> queue(const std::vector<std::string>& ids);
  /// Those that are over and that the last `queue` told of nevertheless: Slurm remembers them for a few minutes.
  const std::vector<QueuedJob>& ended() const { return ended_; }

  /// What sacct has of the jobs. No value: there is no accounting, or no answer. May be behind, incomplete or wrong:
  /// for telling more, never for deciding.
  std::optional<std::vector<AccountedJob>> accounting(const std::vector<std::string>& ids);

  /// sbatch --parsable ARGUMENTS: the job's id. An Error with sbatch's own words if it is refused.
  std::string submit(const std::vector<std::string>& arguments);

  /// Cancels the jobs ("123", or "123_4" for one task). Those that are over already are no failure. False: see `why()`.
  bool cancel(const std::vector<std::string>& ids);
  /// Sends a signal ("USR1") to a job that runs. False: see `why()`.
  bool signal(const std::string& id, const std::string& signal, SignalTarget target);
  /// Lets a job that waits after a requeue (about two minutes, BeginTime) start at once. False: see `why()`.
  bool start_now(const std::string& id);

  /// One line: why the last call had no answer, or failed; "" if it had one.
  const std::string& why() const { return why_; }

private:
  bool act(const std::vector<std::string>& words);

  double patience_;
  std::vector<QueuedJob> ended_;
  std::string why_;
};

}  // namespace couplet
