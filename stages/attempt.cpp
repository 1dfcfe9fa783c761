#include "stages/attempt.h"

#include "method/data/latents.h"
#include "pipeline/liveness/activity.h"
#include "pipeline/process/interruption.h"
#include "pipeline/process/log.h"
#include "pipeline/run/stage_record.h"
#include "stages/couple/couple.h"
#include "stages/data/run_tables.h"
#include "stages/kinds.h"
#include "stages/plan.h"
#include "stages/stage_traffic.h"
#include "storage/clock.h"
#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/files/file_lock.h"
#include "storage/files/text_tail.h"
#include "storage/filesystem.h"
#include "storage/tables/filenames.h"
#include "storage/tables/row_table.h"
#include "storage/text.h"

#include <algorithm>
#include <optional>
#include <vector>

namespace couplet {

namespace {

/// How long an attempt ran that was killed: until its log was written to last.
double unfinished_seconds(const StageRecord& record, const std::filesystem::path& log) {
  return record.running_since == 0 ? 0 : std::max(0.0, changed_at(log) - record.running_since);
}

/// The folders and the log of an attempt. `log_name`: of its log, and of the speaker in it.
void open_stage(const Session& session, const StageNode& node, const std::string& log_name) {
  const RunDirectory& run = session.view.run;
  std::filesystem::create_directories(run.log());
  std::filesystem::create_directories(run.stage(node.name));
  open_log(run.stage_log(log_name), log_name, session.communicator.rank(), session.communicator.size());
}

/// Seconds that a job of several on one table waits for the others of them, which hold the stage's lock while they note
/// what they did, and one while it closes the table. A job that makes the whole stage is told at once, by another lock.
constexpr double part_seconds = 6 * 3600;

/// The tables that a stage reads hold every shard that they list; on rank 0.
void require_tables(const StageNode& node, const RunView& view) {
  const RunDirectory& run = view.run;
  std::vector<std::filesystem::path> tables;
  for (const std::string& input : node.inputs) {
    if (input == "prepare") tables.insert(tables.end(), {run.train_images(), run.test_images()});
    if (input == "latents") {
      tables.insert(tables.end(), {run.latents("train"), run.latents("test")});
      if (const auto program = run.stage("latents") / latent_script_name; !is_there(program))
        fail("{}: is not there, and latents become pixels by it; put it back, a copy of latents.file or of {}",
             program.string(), run.autoencoder_codec().string());
    }
    if (const StageNode& from = find_node(view.graph, input); !from.table.empty())
      for (const char* split : {"train", "test"})
        tables.push_back(table_directory(view.config, run, from.table, split));
  }
  for (const std::filesystem::path& table : tables)
    if (!table.empty() && std::filesystem::exists(table / manifest_name)) RowTable(table, "").require_shards();
}

/// Another of the jobs that fill a table has begun it, from the same inputs: there is nothing to note down and nobody
/// to wait for.
bool joins_others(const Session& session, const StageNode& node) {
  require_inputs(node, session.view.graph, session.view.run);
  const auto record = read_record(session.view.run.stage(node.name));
  return record && record->state == StageState::started && decide_stage(node, session.view).action == Action::resume;
}

/// On rank 0, which owns the stage exclusively at this moment: decides, and publishes the record of an attempt that
/// begins. True: there is work. `alone`: no other job works on the stage now.
bool begin_attempt(const Session& session, const StageNode& node, StageRecord& record, bool alone = true) {
  const RunView& view = session.view;
  const auto directory = view.run.stage(node.name);
  require_inputs(node, view.graph, view.run);
  const Decision decision = decide_stage(node, view);
  if (decision.action == Action::skip) {
    say("skipped: {}", decision.reason);
    return false;
  }
  require_tables(node, view);
  const auto earlier = read_record(directory);
  record = new_record(node, view.graph);
  if (decision.action == Action::resume) {
    record.attempts = earlier->attempts;
    record.seconds = earlier->seconds;
    if (alone) record.seconds += unfinished_seconds(*earlier, view.run.stage_log(node.name));
    say("goes on: {}", decision.reason);
  } else if (earlier) {
    say("starts anew: {}", decision.reason);
    delete_stage(node, view.run);
  }
  if (alone) remove_leftovers(directory);
  record.attempts += 1;
  record.ranks = session.communicator.size();
  record.running_since = alone ? unix_now() : 0;
  publish_record(directory, record);
  return true;
}

/// The attempt is over; on rank 0.
void end_attempt(const Session& session, const StageNode& node, StageRecord& record, StageState state) {
  record.seconds += unix_now() - record.running_since;
  record.running_since = 0;
  record.state = state;
  publish_record(session.view.run.stage(node.name), record);
}

StageContext context_of(const Session& session, const StageNode& node) {
  return {node, session.view.graph, session.view.config, session.view.run, session.communicator, session.device};
}

/// Closes the coupling table if all its shards are there; on rank 0. Returns the missing ones. Of several jobs the one
/// that publishes the last shard sees all of them here, and only that one opens them.
std::vector<std::int64_t> close_parts(StageContext& context, double seconds) {
  const auto directory = context.directory();
  const std::string stage = "stage " + context.node.name;
  const WorkingAlone alone("waiting for other jobs on " + directory.string());
  std::vector<std::int64_t> missing = absent_shards(context);
  const FileLock lock(context.run.stage_lock(context.node.name), LockMode::exclusive, stage, part_seconds);
  auto record = read_record(directory);
  if (!record) fail("{}: its record is gone; another program deleted it meanwhile", record_path(directory).string());
  record->seconds += seconds;
  if (record->state == StageState::complete) {
    missing.clear();
  } else if (missing.empty()) {
    missing = close_coupling(context);
    if (missing.empty()) record->state = StageState::complete;
  }
  publish_record(directory, *record);
  return missing;
}

}  // namespace

void attempt_stage(const Session& session, const StageNode& node) {
  Communicator& communicator = session.communicator;
  const RunDirectory& run = session.view.run;
  open_stage(session, node, node.name);
  // Rank 0 alone first, which waits for a killed predecessor's ranks to vanish; then every rank until its end.
  StageRecord record;
  std::optional<FileLock> lock, parts;
  bool work = false;
  if (communicator.is_root()) {
    const WorkingAlone alone("looking what is to be done");
    if (!node.table.empty())
      parts.emplace(run.parts_lock(node.name), LockMode::exclusive, "stage " + node.name, orphan_seconds);
    lock.emplace(run.stage_lock(node.name), LockMode::exclusive, "stage " + node.name, orphan_seconds);
    work = begin_attempt(session, node, record);
    lock->share();
  }
  if (communicator.maximum(work ? 1 : 0) == 0) return;
  if (!lock) lock.emplace(run.stage_lock(node.name), LockMode::shared, "stage " + node.name);

  StageContext context = context_of(session, node);
  const StageTraffic traffic;
  try {
    kind_of(node).run(context);
  } catch (const Interrupted&) {
    if (communicator.is_root()) end_attempt(session, node, record, StageState::started);
    throw;
  }
  communicator.barrier();
  traffic.publish(communicator, run.log() / (flat_name(node.name) + ".traffic.json"));
  if (!communicator.is_root()) return;
  end_attempt(session, node, record, StageState::complete);
  say("complete in {}", duration_text(record.seconds));
}

void attempt_part(const Session& session, const StageNode& node, const TablePart& part) {
  Communicator& communicator = session.communicator;
  const RunDirectory& run = session.view.run;
  const double start = unix_now();
  open_stage(session, node, part.name);
  std::optional<FileLock> parts;
  bool work = false;
  if (communicator.is_root()) {
    const WorkingAlone alone("looking what is to be done");
    parts.emplace(run.parts_lock(node.name), part.make ? LockMode::shared : LockMode::exclusive, "stage " + node.name,
                  orphan_seconds);
    if (part.make && joins_others(session, node)) {
      work = true;
    } else {
      const FileLock lock(run.stage_lock(node.name), LockMode::exclusive, "stage " + node.name, part_seconds);
      StageRecord record;
      work = begin_attempt(session, node, record, !part.make);
    }
  }
  if (communicator.maximum(work ? 1 : 0) == 0) return;
  if (!parts && part.make) parts.emplace(run.parts_lock(node.name), LockMode::shared, "stage " + node.name);
  StageContext context = context_of(session, node);
  if (part.make) {
    const StageTraffic traffic;
    part.make(context);
    traffic.publish(communicator, run.log() / (flat_name(part.name) + ".traffic.json"));
  }
  if (!communicator.is_root()) return;
  const std::vector<std::int64_t> missing = close_parts(context, unix_now() - start);
  if (missing.empty())
    say("complete");
  else if (part.make)
    say("its shards are there; {} are still missing", ranges_text(missing));
  else
    fail("{}: shards {} are missing; couplet stage {} --couple.shards {}-{} makes them", context.directory().string(),
         ranges_text(missing), node.name, missing.front(), missing.back());
}

}  // namespace couplet
