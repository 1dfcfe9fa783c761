// The status of a stage, decided from all that is known of it: its record, its lock, its ranks' heartbeats, its job.
#pragma once

#include "launch/slurm/submitted_jobs.h"
#include "pipeline/liveness/heartbeats.h"
#include "pipeline/process/end_note.h"
#include "pipeline/run/stage_record.h"
#include "stages/stage_progress.h"

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace couplet {

enum class StageStatus {
  complete,
  stale,  ///< it was made with another configuration than config.ini's
  running,
  stuck,      ///< it runs, but a rank gives no sign of life or does not get on
  suspended,  ///< Slurm has stopped it
  pending,    ///< its job is in the queue for the first time
  requeued,   ///< its job is in the queue again
  submitted,  ///< its job is in the queue, running or over: Slurm does not answer
  blocked,    ///< its job waits, or waited, for one that will never succeed
  failed,
  cancelled,
  vanished,     ///< its job is over, the stage is not complete, and nothing says why
  interrupted,  ///< it was begun, and nobody works on it
  incomplete,   ///< more is asked for than it has made, and nobody works on it
  not_started
};

std::string status_text(StageStatus status);
/// True if somebody works on the stage, or Slurm will see to it without being asked again.
bool is_under_way(StageStatus status);

/// What is known of a stage.
struct StageFacts {
  const StageNode& node;
  std::optional<StageRecord> record;
  bool current = false;  ///< the record is of the configuration as it is now
  std::string missing;   ///< what is asked for of a complete stage that it has not made; "" if there is nothing
  std::string holder;    ///< who holds the stage's lock; "" if nobody does
  StageWork work;
  std::map<std::string, Heartbeats> heartbeats;  ///< by name: of the stage, or of each part of it
  const StageJobView* job = nullptr;             ///< null: the stage was not submitted
  std::vector<std::filesystem::path> outputs;    ///< of the job that was submitted last, oldest first
  std::string last_line;                         ///< the last line that the stage said, for people
  std::optional<RankFailure> failure;            ///< the failure that ended its last attempt
  std::filesystem::path log;
  double timeout = 600;  ///< pipeline.timeout
};

struct ExplainedStatus {
  StageStatus status = StageStatus::not_started;
  std::string message;        ///< one line: what the stage does, waits for, or why it stopped
  std::filesystem::path log;  ///< where more stands about a stage that stopped; empty otherwise
};

/// `statuses` are those of the stages before it in the graph. `jobs` names the stages of the jobs that it waits for.
ExplainedStatus find_status(const StageFacts& facts, const SubmittedJobs& jobs,
                            const std::map<std::string, StageStatus>& statuses, double now);

}  // namespace couplet
