// Where a stage stands, decided from all that is known of it: its record, its lock, its ranks' signs of life, its job.
#pragma once

#include "launch/slurm/job_book.h"
#include "pipeline/liveness/pulse.h"
#include "pipeline/process/end_note.h"
#include "pipeline/run/stage_record.h"
#include "stages/stage_progress.h"

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace couplet {

enum class Standing {
  complete,
  stale,  ///< made with another configuration than config.ini's
  running,
  stuck,      ///< runs, but a rank gives no sign of life or does not get on
  suspended,  ///< Slurm has stopped it
  pending,    ///< in the queue, for the first time
  requeued,   ///< in the queue again
  submitted,  ///< in the queue, running or over: Slurm does not answer
  blocked,    ///< its job waits, or waited, for one that will never succeed
  failed,
  cancelled,
  vanished,     ///< its job is over, the stage is not complete, and nothing says why
  interrupted,  ///< begun, and nobody works on it
  not_started
};

std::string standing_text(Standing standing);
/// Somebody works on the stage, or Slurm will see to it without being asked again.
bool is_under_way(Standing standing);

/// What is known of a stage.
struct StageFacts {
  const StageNode& node;
  std::optional<StageRecord> record;
  bool current = false;  ///< its record is of the configuration as it is
  std::string holder;    ///< of the stage's lock
  StageWork work;
  std::map<std::string, Pulse> pulses;         ///< by board: of the stage, or of each part of it
  const StageJobView* job = nullptr;           ///< none: it was not submitted
  std::vector<std::filesystem::path> outputs;  ///< of the job as submitted last, oldest first
  std::string last_line;                       ///< that it said, for people
  std::optional<RankFailure> failure;          ///< that ended its last attempt
  std::filesystem::path log;
  double timeout = 600;  ///< pipeline.timeout
};

struct StageVerdict {
  Standing standing = Standing::not_started;
  std::string message;        ///< one line: what it does, waits for, or why it stopped
  std::filesystem::path log;  ///< of what stopped: where more stands; empty otherwise
};

/// `standings`: of the stages before it in the graph. `book` names the stages of jobs that it waits for.
StageVerdict judge(const StageFacts& facts, const JobBook& book, const std::map<std::string, Standing>& standings,
                   double now);

}  // namespace couplet
