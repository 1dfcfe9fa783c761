#include "launch/status/run_status.h"

#include "launch/status/stage_logs.h"
#include "stages/kinds.h"
#include "stages/opened_run.h"
#include "stages/stage_heartbeats.h"
#include "storage/clock.h"
#include "storage/error.h"
#include "storage/files/file_lock.h"
#include "storage/files/text_tail.h"
#include "storage/filesystem.h"

#include <algorithm>

namespace couplet {

namespace {

/// The last line of a stage's log, for people, without the stage's name in front.
std::string last_line_of(const fs::path& log, const StageNode& node) {
  const std::vector<std::string> lines = last_lines(log);
  if (lines.empty()) return "";
  const std::string name = (node.table.empty() ? node.name : log.stem().string()) + ": ";
  std::string last = lines.back();
  while (last.starts_with(name)) last.erase(0, name.size());
  return last;
}

/// Gathers what is known of a run's stages.
class Gathering {
public:
  Gathering(const RunDirectory& run, Scheduler* scheduler)
      : run_(run),
        opened_(open_run(run.root())),
        jobs_(run, scheduler, [this](const std::string& stage) { return is_unfinished(stage); }) {
    for (const StageNode& node : opened_.graph)
      if (is_unfinished(node.name)) unfinished_.push_back(&node);
    heartbeats_ = HeartbeatFiles::read_all(run.heartbeats(), [this](const std::string& name) {
      return std::ranges::any_of(unfinished_, [&](const StageNode* node) { return is_heartbeat_name_of(name, *node); });
    });
  }

  RunStatus status() const;

private:
  bool is_unfinished(const std::string& stage) const;
  std::string missing_of(const StageNode& node, const StageRecord& record) const;
  StageFacts facts_of(const StageNode& node) const;
  StageOverview overview_of(const StageNode& node, const std::map<std::string, StageStatus>& statuses) const;

  const RunDirectory& run_;
  OpenedRun opened_;
  SubmittedJobs jobs_;
  std::vector<const StageNode*> unfinished_;
  std::map<std::string, std::vector<Heartbeat>> heartbeats_;
};

bool Gathering::is_unfinished(const std::string& stage) const {
  const StageNode* node = look_for_node(opened_.graph, stage);
  if (node == nullptr) return false;  // the stage is one of an earlier configuration
  const auto record = read_record(run_.stage(stage));
  return !record || record->state != StageState::complete || record->fingerprint != node->fingerprint ||
         !missing_of(*node, *record).empty();
}

/// What is asked for of a complete stage that it has not made; "" if there is nothing.
std::string Gathering::missing_of(const StageNode& node, const StageRecord& record) const {
  const auto missing = kind_of(node).missing;
  const bool asks =
      record.state == StageState::complete && record.fingerprint == node.fingerprint && missing != nullptr;
  return asks ? missing(node, opened_.view()) : "";
}

StageFacts Gathering::facts_of(const StageNode& node) const {
  StageFacts facts{.node = node,
                   .record = read_record(run_.stage(node.name)),
                   .current = false,
                   .missing = "",
                   .holder = FileLock::holder(run_.stage_lock(node.name)),
                   .work = {},
                   .heartbeats = {},
                   .job = jobs_.of(node.name),
                   .outputs = {},
                   .last_line = "",
                   .failure = {},
                   .log = newest_log(run_, node),
                   .timeout = opened_.config.pipeline.timeout};
  if (facts.holder.empty() && !node.table.empty()) facts.holder = FileLock::holder(run_.parts_lock(node.name));
  if (facts.record) facts.current = facts.record->fingerprint == node.fingerprint;
  if (facts.record) facts.missing = missing_of(node, *facts.record);
  if (facts.record) facts.work = kind_of(node).progress(node, opened_.view());
  for (const auto& [name, ranks] : heartbeats_)
    if (is_heartbeat_name_of(name, node)) facts.heartbeats[name] = {ranks};
  // The name of a kind stands for whichever of its stages is at work.
  if (node.table.empty() && facts.heartbeats.size() > 1) facts.heartbeats.erase(node.kind);
  if (facts.holder.empty() && node.table.empty() && node.kind != node.name) facts.heartbeats.erase(node.kind);
  if (facts.job && is_unfinished(node.name)) facts.outputs = submission_outputs(run_, facts.job->submitted);
  facts.last_line = last_line_of(facts.log, node);
  facts.failure = last_failure(run_, node);
  return facts;
}

StageOverview Gathering::overview_of(const StageNode& node, const std::map<std::string, StageStatus>& statuses) const {
  const StageFacts facts = facts_of(node);
  const double now = unix_now();
  StageOverview overview;
  overview.name = node.name;
  overview.explained = find_status(facts, jobs_, statuses, now);
  overview.work = facts.work;
  overview.holder = facts.holder;
  if (facts.job) overview.job = *facts.job;
  const bool works =
      overview.explained.status == StageStatus::running || overview.explained.status == StageStatus::stuck;
  if (!works) overview.work.rate = 0;
  if (!facts.record) return overview;
  overview.attempts = facts.record->attempts;
  overview.ranks = facts.record->ranks;
  overview.seconds = facts.record->seconds;
  if (works && facts.record->running_since > 0) overview.seconds += now - facts.record->running_since;
  return overview;
}

RunStatus Gathering::status() const {
  RunStatus status{run_.root().string(), FileLock::holder(run_.lock()), jobs_.silence(), {}};
  std::map<std::string, StageStatus> statuses;
  for (const StageNode& node : opened_.graph) {
    status.stages.push_back(overview_of(node, statuses));
    statuses[node.name] = status.stages.back().explained.status;
  }
  return status;
}

}  // namespace

bool RunStatus::at_rest() const {
  return holder.empty() &&
         std::ranges::none_of(stages, [](const StageOverview& stage) { return is_under_way(stage.explained.status); });
}

RunStatus run_status(const RunDirectory& run, Scheduler* scheduler) {
  return Gathering(run, scheduler).status();
}

}  // namespace couplet
