#include "launch/status/stage_status.h"

#include "storage/text.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <limits>

namespace couplet {

namespace {

constexpr double never = std::numeric_limits<double>::max();
constexpr double starting_seconds = 300;  // from a job's start to its ranks' first sign of life

/// "14:05", or "2026-01-02 14:05" on another day.
std::string clock_text(double time, double now) {
  const auto local = [](double seconds) {
    const auto whole = static_cast<std::time_t>(seconds);
    std::tm fields{};
    ::localtime_r(&whole, &fields);
    return fields;
  };
  const std::tm then = local(time), today = local(now);
  char text[32];
  const bool same_day = then.tm_year == today.tm_year && then.tm_yday == today.tm_yday;
  return {text, std::strftime(text, sizeof text, same_day ? "%H:%M" : "%Y-%m-%d %H:%M", &then)};
}

bool is_waiting(const QueuedJob& job) {
  constexpr std::array states{"PENDING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"};
  return std::ranges::find(states, job.state) != states.end();
}

/// The status of a stage whose job's script says that the job does not go on.
StageStatus status_of_end(JobEndState state) {
  if (state == JobEndState::cancelled) return StageStatus::cancelled;
  return state == JobEndState::stopped ? StageStatus::interrupted : StageStatus::failed;
}

/// Finds the status of one stage.
class StatusFinder {
public:
  StatusFinder(const StageFacts& facts, const SubmittedJobs& jobs, const std::map<std::string, StageStatus>& statuses,
               double now)
      : facts_(facts), jobs_(jobs), statuses_(statuses), now_(now) {
    // Ten times what a step takes is long; before the first one nobody knows what it takes.
    limits_.slow = facts.work.rate > 0 ? 10 / facts.work.rate : facts.timeout / 2;
    limits_.slow = std::max(limits_.slow, limits_.silent);
  }
  ExplainedStatus find() const;

private:
  bool recorded() const { return facts_.record && facts_.record->state != StageState::withdrawn; }
  bool alive() const;
  std::optional<QueuedJob> queued_in(bool running) const;
  double kept_since(const std::string& name) const;
  std::string running_message() const;

  ExplainedStatus working() const;
  ExplainedStatus waiting(const QueuedJob& job) const;
  std::optional<ExplainedStatus> noted_end() const;
  ExplainedStatus ended() const;
  ExplainedStatus unknown() const;
  ExplainedStatus incomplete() const;
  ExplainedStatus without_job() const;
  ExplainedStatus stopped(StageStatus status, const std::string& message, std::filesystem::path log = {}) const;
  std::string reason_text(const JobEnd& end) const;
  std::string obstacle() const;
  std::string slurms_word() const;

  const StageFacts& facts_;
  const SubmittedJobs& jobs_;
  const std::map<std::string, StageStatus>& statuses_;
  double now_;
  HeartbeatLimits limits_;
};

bool StatusFinder::alive() const {
  return !facts_.holder.empty() ||
         std::ranges::any_of(facts_.heartbeats, [&](const auto& named) { return named.second.alive(now_, limits_); });
}

/// One of the stage's jobs that runs, or one that waits.
std::optional<QueuedJob> StatusFinder::queued_in(bool running) const {
  if (!facts_.job) return std::nullopt;
  for (const QueuedJob& job : facts_.job->queued)
    if (is_waiting(job) != running) return job;
  return std::nullopt;
}

/// Since when a running job writes the heartbeats of this name: the stage's job, or a task of its array. A huge number
/// if none does; 0 if nobody knows of a job.
double StatusFinder::kept_since(const std::string& name) const {
  if (!facts_.job || facts_.job->queued.empty()) return facts_.heartbeats.size() == 1 ? 0 : never;
  for (const QueuedJob& job : facts_.job->queued)
    if (!is_waiting(job) && (job.array_task.empty() || name.ends_with("-" + job.array_task))) return job.start;
  return never;
}

/// `log` is the file with more; without one, the newest output of the job is, or the stage's own log.
ExplainedStatus StatusFinder::stopped(StageStatus status, const std::string& message, std::filesystem::path log) const {
  if (!std::filesystem::exists(log)) log = facts_.outputs.empty() ? facts_.log : facts_.outputs.back();
  return {status, message, std::filesystem::exists(log) ? log : ""};
}

/// "14:05: saved and stopped before its time limit; queued again (1 of 100, slurm.max-requeues)"
std::string StatusFinder::reason_text(const JobEnd& end) const {
  return end.time > 0 ? clock_text(end.time, now_) + ": " + end.reason : end.reason;
}

ExplainedStatus StatusFinder::find() const {
  const auto running = queued_in(true), waits = queued_in(false);
  const bool complete = facts_.record && facts_.record->state == StageState::complete && facts_.current;
  if (complete && facts_.missing.empty()) return {StageStatus::complete, facts_.last_line, {}};
  if (alive() || running) return working();
  if (recorded() && !facts_.current)
    return stopped(
        StageStatus::stale,
        fmt::format("made with another configuration than config.ini; couplet run --redo {}", facts_.node.name));
  if (waits) return waiting(*waits);
  if (complete) return incomplete();
  if (!facts_.job) return without_job();
  return facts_.job->answered ? ended() : unknown();
}

ExplainedStatus StatusFinder::working() const {
  const auto job = queued_in(true);
  if (job && (job->state == "SUSPENDED" || job->state == "STOPPED"))
    return {StageStatus::suspended, fmt::format("job {} is suspended", job->name()), {}};
  bool seen = !facts_.holder.empty();
  for (const auto& [name, ranks] : facts_.heartbeats) {
    // Nobody expects a sign of life of an earlier attempt, or of a part that is over.
    const bool expected = now_ - ranks.age(now_) >= kept_since(name);
    if (!expected && !ranks.alive(now_, limits_)) continue;
    seen = true;
    if (const std::string trouble = ranks.trouble(now_, limits_); !trouble.empty())
      return stopped(StageStatus::stuck, trouble);
  }
  if (seen || !job) return {StageStatus::running, running_message(), {}};
  if (job->state == "COMPLETING") return {StageStatus::running, fmt::format("job {} is ending", job->name()), {}};
  const double since = job->start > 0 ? now_ - job->start : 0;
  if (since >= starting_seconds)
    return stopped(StageStatus::stuck, fmt::format("job {} has run for {}, and no rank has given a sign of life",
                                                   job->name(), duration_text(since)));
  return {StageStatus::running, fmt::format("job {} starts its ranks", job->name()), {}};
}

std::string StatusFinder::running_message() const {
  if (!facts_.job) return facts_.last_line;
  if (!facts_.job->cancelled.empty()) return "is being cancelled: " + facts_.job->cancelled;
  const bool part_stopped = facts_.job->submitted.array > 0 && facts_.job->end;
  return facts_.last_line + (part_stopped ? "; of its tasks: " + reason_text(*facts_.job->end) : "");
}

/// What keeps a stage that waits for others from ever running: "teacher is failed"; "" if nothing does.
std::string StatusFinder::obstacle() const {
  for (const std::string& id : facts_.job->submitted.after) {
    const std::string stage = jobs_.stage_of(id);
    const auto found = statuses_.find(stage);
    if (found == statuses_.end() || found->second == StageStatus::complete || is_under_way(found->second)) continue;
    return fmt::format("{} is {}", stage, status_text(found->second));
  }
  return "";
}

ExplainedStatus StatusFinder::waiting(const QueuedJob& job) const {
  if (job.reason == "DependencyNeverSatisfied") {
    const std::string what = obstacle();
    return stopped(StageStatus::blocked, fmt::format("job {} can never start: {}", job.name(),
                                                     what.empty() ? "a job that it waits for did not succeed" : what));
  }
  std::string waits = job.reason.empty() ? "it has not been looked at yet" : job.reason;
  if (job.reason == "Dependency") {
    std::vector<std::string> stages;
    for (const std::string& id : facts_.job->submitted.after)
      if (const auto found = statuses_.find(jobs_.stage_of(id));
          found != statuses_.end() && found->second != StageStatus::complete)
        stages.push_back(found->first);
    if (!stages.empty()) waits = fmt::format("{}", fmt::join(stages, ", "));
  } else if (job.start > now_) {
    waits += fmt::format(", expected to start at {}", clock_text(job.start, now_));
  }
  const std::string reason = facts_.job->end ? "; before: " + reason_text(*facts_.job->end) : "";
  const bool again = job.restarts > 0 || facts_.job->requeues + facts_.job->retries > 0 || !reason.empty();
  if (!again) return {StageStatus::pending, "waits for " + waits, {}};
  return {StageStatus::requeued, fmt::format("waits for {}{}", waits, reason), {}};
}

/// What Slurm remembers of the job's end: "OUT_OF_MEMORY (task 3)"; "" if it says no more than that the job is over.
std::string StatusFinder::slurms_word() const {
  const auto says_more = [](const std::string& state) {
    return state != "COMPLETED" && state != "RUNNING" && state != "PENDING" && state != "REQUEUED" && !state.empty();
  };
  const auto text = [](const auto& job) {
    return job.state + (job.array_task.empty() ? "" : fmt::format(" (task {})", job.array_task));
  };
  for (const QueuedJob& job : facts_.job->ended)
    if (says_more(job.state)) return text(job);
  for (const AccountedJob& job : facts_.job->accounted)
    if (says_more(job.state)) return text(job);
  return "";
}

/// What the run directory says of the job's end; nothing if it says nothing.
std::optional<ExplainedStatus> StatusFinder::noted_end() const {
  const StageJobView& job = *facts_.job;
  if (!job.cancelled.empty()) return stopped(StageStatus::cancelled, job.cancelled);
  if (const std::string what = obstacle(); facts_.outputs.empty() && !what.empty())  // it has never run
    return ExplainedStatus{StageStatus::blocked, fmt::format("job {} can never start: {}", job.name(), what), {}};
  if (!job.end || job.end->goes_on()) return std::nullopt;
  return stopped(status_of_end(job.end->state), reason_text(*job.end), job.end->log);
}

/// The job is over, and the stage is not complete.
ExplainedStatus StatusFinder::ended() const {
  const StageJobView& job = *facts_.job;
  const auto noted = noted_end();
  const std::string said = slurms_word();
  if (said.starts_with("CANCELLED") && (!noted || noted->status == StageStatus::failed))
    return stopped(StageStatus::cancelled, noted ? noted->message : fmt::format("job {} was cancelled", job.name()));
  if (noted) return *noted;
  if (!said.empty()) return stopped(StageStatus::failed, fmt::format("Slurm says of job {}: {}", job.name(), said));
  if (facts_.failure) return stopped(StageStatus::failed, facts_.failure->message);
  const bool accounted = !job.accounted.empty() || !job.ended.empty();
  return stopped(StageStatus::vanished,
                 fmt::format("job {} is over{}, but the stage is not complete, and nothing says why{}; submit again",
                             job.name(), accounted ? ", by Slurm's account COMPLETED" : "",
                             job.end ? " after this: " + reason_text(*job.end) : ""));
}

/// Slurm does not answer, and nobody gives a sign of life.
ExplainedStatus StatusFinder::unknown() const {
  const StageJobView& job = *facts_.job;
  if (job.cancelled.empty() && job.end && job.end->goes_on()) return {StageStatus::requeued, reason_text(*job.end), {}};
  if (const auto noted = noted_end()) return *noted;
  std::string seen;
  for (const AccountedJob& one : job.accounted) seen = fmt::format("; sacct says {}", one.state);
  const double silent = facts_.heartbeats.empty() ? -1 : facts_.heartbeats.begin()->second.age(now_);
  if (recorded() && silent >= 0)
    return stopped(StageStatus::submitted, fmt::format("job {}: its ranks gave their last sign of life {} ago{}",
                                                       job.name(), duration_text(silent), seen));
  return {StageStatus::submitted,
          fmt::format("job {} was submitted {} ago{}", job.name(), duration_text(now_ - job.submitted.time), seen),
          {}};
}

/// All that it made stands, and more is asked for. A job of its own may have ended without making that.
ExplainedStatus StatusFinder::incomplete() const {
  if (facts_.job && !facts_.job->answered) return unknown();
  if (facts_.job)
    if (const auto noted = noted_end()) return *noted;
  return {StageStatus::incomplete, facts_.missing + "; couplet run makes what is missing", {}};
}

ExplainedStatus StatusFinder::without_job() const {
  if (!recorded()) return {StageStatus::not_started, "", {}};
  if (facts_.failure) return stopped(StageStatus::failed, facts_.failure->message);
  return {StageStatus::interrupted, facts_.last_line, {}};
}

}  // namespace

std::string status_text(StageStatus status) {
  constexpr std::array texts{"complete",  "stale",    "running",     "stuck",      "suspended",
                             "pending",   "requeued", "submitted",   "blocked",    "failed",
                             "cancelled", "vanished", "interrupted", "incomplete", "not started"};
  return texts[static_cast<std::size_t>(status)];
}

bool is_under_way(StageStatus status) {
  constexpr std::array going{StageStatus::running, StageStatus::stuck,    StageStatus::suspended,
                             StageStatus::pending, StageStatus::requeued, StageStatus::submitted};
  return std::ranges::find(going, status) != going.end();
}

ExplainedStatus find_status(const StageFacts& facts, const SubmittedJobs& jobs,
                            const std::map<std::string, StageStatus>& statuses, double now) {
  return StatusFinder(facts, jobs, statuses, now).find();
}

}  // namespace couplet
