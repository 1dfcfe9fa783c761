#include "launch/status/stage_standing.h"

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

/// Of a job whose script says that it does not go on.
Standing standing_of(JobEndState state) {
  if (state == JobEndState::cancelled) return Standing::cancelled;
  return state == JobEndState::stopped ? Standing::interrupted : Standing::failed;
}

/// Judges one stage; each function answers if it is its turn.
class Judge {
public:
  Judge(const StageFacts& facts, const JobBook& book, const std::map<std::string, Standing>& standings, double now)
      : facts_(facts), book_(book), standings_(standings), now_(now) {
    // Ten times what a step takes is long; before the first one nobody knows what it takes.
    limits_.slow = facts.work.rate > 0 ? 10 / facts.work.rate : facts.timeout / 2;
    limits_.slow = std::max(limits_.slow, limits_.silent);
  }
  StageVerdict verdict() const;

private:
  bool recorded() const { return facts_.record && facts_.record->state != StageState::withdrawn; }
  bool alive() const;
  std::optional<QueuedJob> queued_in(bool running) const;
  double kept_since(const std::string& board) const;
  std::string running_message() const;

  StageVerdict working() const;
  StageVerdict waiting(const QueuedJob& job) const;
  std::optional<StageVerdict> noted_end() const;
  StageVerdict ended() const;
  StageVerdict unknown() const;
  StageVerdict without_job() const;
  StageVerdict stopped(Standing standing, const std::string& message, std::filesystem::path log = {}) const;
  std::string reason_text(const JobEnd& end) const;
  std::string obstacle() const;
  std::string slurms_word() const;

  const StageFacts& facts_;
  const JobBook& book_;
  const std::map<std::string, Standing>& standings_;
  double now_;
  PulseLimits limits_;
};

bool Judge::alive() const {
  return !facts_.holder.empty() ||
         std::ranges::any_of(facts_.pulses, [&](const auto& board) { return board.second.alive(now_, limits_); });
}

/// One of the stage's jobs that waits, or does not.
std::optional<QueuedJob> Judge::queued_in(bool running) const {
  if (!facts_.job) return std::nullopt;
  for (const QueuedJob& job : facts_.job->queued)
    if (is_waiting(job) != running) return job;
  return std::nullopt;
}

/// Since when a board is kept up by a job that runs: that of the stage, or of one task of its array. A huge number:
/// none does. 0: nobody knows of a job.
double Judge::kept_since(const std::string& board) const {
  if (!facts_.job || facts_.job->queued.empty()) return facts_.pulses.size() == 1 ? 0 : never;
  for (const QueuedJob& job : facts_.job->queued)
    if (!is_waiting(job) && (job.array_task.empty() || board.ends_with("-" + job.array_task))) return job.start;
  return never;
}

/// `log`: where more stands; empty: in the newest output of its job, or its own log.
StageVerdict Judge::stopped(Standing standing, const std::string& message, std::filesystem::path log) const {
  if (!std::filesystem::exists(log)) log = facts_.outputs.empty() ? facts_.log : facts_.outputs.back();
  return {standing, message, std::filesystem::exists(log) ? log : ""};
}

/// "14:05: saved and stopped before its time limit; queued again (1 of 100, slurm.max-requeues)"
std::string Judge::reason_text(const JobEnd& end) const {
  return end.time > 0 ? clock_text(end.time, now_) + ": " + end.reason : end.reason;
}

StageVerdict Judge::verdict() const {
  const auto running = queued_in(true), waits = queued_in(false);
  const bool complete = facts_.record && facts_.record->state == StageState::complete && facts_.current;
  if (complete) return {Standing::complete, facts_.last_line, {}};
  if (alive() || running) return working();
  if (recorded() && !facts_.current)
    return stopped(
        Standing::stale,
        fmt::format("made with another configuration than config.ini; couplet run --redo {}", facts_.node.name));
  if (waits) return waiting(*waits);
  if (!facts_.job) return without_job();
  return facts_.job->answered ? ended() : unknown();
}

StageVerdict Judge::working() const {
  const auto job = queued_in(true);
  if (job && (job->state == "SUSPENDED" || job->state == "STOPPED"))
    return {Standing::suspended, fmt::format("job {} is suspended", job->name()), {}};
  bool seen = !facts_.holder.empty();
  for (const auto& [board, pulse] : facts_.pulses) {
    // Of an attempt before this one, or of a part that is over, nobody expects a sign of life.
    const bool expected = now_ - pulse.age(now_) >= kept_since(board);
    if (!expected && !pulse.alive(now_, limits_)) continue;
    seen = true;
    if (const std::string trouble = pulse.trouble(now_, limits_); !trouble.empty())
      return stopped(Standing::stuck, trouble);
  }
  if (seen || !job) return {Standing::running, running_message(), {}};
  if (job->state == "COMPLETING") return {Standing::running, fmt::format("job {} is ending", job->name()), {}};
  const double since = job->start > 0 ? now_ - job->start : 0;
  if (since >= starting_seconds)
    return stopped(Standing::stuck, fmt::format("job {} has run for {}, and no rank has given a sign of life",
                                                job->name(), duration_text(since)));
  return {Standing::running, fmt::format("job {} starts its ranks", job->name()), {}};
}

std::string Judge::running_message() const {
  if (!facts_.job) return facts_.last_line;
  if (!facts_.job->cancelled.empty()) return "is being cancelled: " + facts_.job->cancelled;
  const bool part_stopped = facts_.job->submitted.array > 0 && facts_.job->end;
  return facts_.last_line + (part_stopped ? "; of its tasks: " + reason_text(*facts_.job->end) : "");
}

/// What keeps a stage that waits for others from ever running: "teacher failed"; "" if nothing does.
std::string Judge::obstacle() const {
  for (const std::string& id : facts_.job->submitted.after) {
    const std::string stage = book_.stage_of(id);
    const auto found = standings_.find(stage);
    if (found == standings_.end() || found->second == Standing::complete || is_under_way(found->second)) continue;
    return fmt::format("{} is {}", stage, standing_text(found->second));
  }
  return "";
}

StageVerdict Judge::waiting(const QueuedJob& job) const {
  if (job.reason == "DependencyNeverSatisfied") {
    const std::string what = obstacle();
    return stopped(Standing::blocked, fmt::format("job {} can never start: {}", job.name(),
                                                  what.empty() ? "a job that it waits for did not succeed" : what));
  }
  std::string waits = job.reason.empty() ? "it has not been looked at yet" : job.reason;
  if (job.reason == "Dependency") {
    std::vector<std::string> stages;
    for (const std::string& id : facts_.job->submitted.after)
      if (const auto found = standings_.find(book_.stage_of(id));
          found != standings_.end() && found->second != Standing::complete)
        stages.push_back(found->first);
    if (!stages.empty()) waits = fmt::format("{}", fmt::join(stages, ", "));
  } else if (job.start > now_) {
    waits += fmt::format(", expected to start at {}", clock_text(job.start, now_));
  }
  const std::string reason = facts_.job->end ? "; before: " + reason_text(*facts_.job->end) : "";
  const bool again = job.restarts > 0 || facts_.job->requeues + facts_.job->retries > 0 || !reason.empty();
  if (!again) return {Standing::pending, "waits for " + waits, {}};
  return {Standing::requeued, fmt::format("waits for {}{}", waits, reason), {}};
}

/// What Slurm remembers of the job's end: "OUT_OF_MEMORY (task 3)"; "" if nothing that says more than that it is over.
std::string Judge::slurms_word() const {
  const auto tells = [](const std::string& state) {
    return state != "COMPLETED" && state != "RUNNING" && state != "PENDING" && state != "REQUEUED" && !state.empty();
  };
  const auto text = [](const auto& job) {
    return job.state + (job.array_task.empty() ? "" : fmt::format(" (task {})", job.array_task));
  };
  for (const QueuedJob& job : facts_.job->ended)
    if (tells(job.state)) return text(job);
  for (const AccountedJob& job : facts_.job->accounted)
    if (tells(job.state)) return text(job);
  return "";
}

/// What the run directory says of the job's end; nothing if it is silent about it.
std::optional<StageVerdict> Judge::noted_end() const {
  const StageJobView& job = *facts_.job;
  if (!job.cancelled.empty()) return stopped(Standing::cancelled, job.cancelled);
  if (const std::string what = obstacle(); facts_.outputs.empty() && !what.empty())  // it has never run
    return StageVerdict{Standing::blocked, fmt::format("job {} can never start: {}", job.name(), what), {}};
  if (!job.end || job.end->goes_on()) return std::nullopt;
  return stopped(standing_of(job.end->state), reason_text(*job.end), job.end->log);
}

/// The job is over, and the stage is not complete.
StageVerdict Judge::ended() const {
  const StageJobView& job = *facts_.job;
  const auto noted = noted_end();
  const std::string said = slurms_word();
  if (said.starts_with("CANCELLED") && (!noted || noted->standing == Standing::failed))
    return stopped(Standing::cancelled, noted ? noted->message : fmt::format("job {} was cancelled", job.name()));
  if (noted) return *noted;
  if (!said.empty()) return stopped(Standing::failed, fmt::format("Slurm says of job {}: {}", job.name(), said));
  if (facts_.failure) return stopped(Standing::failed, facts_.failure->message);
  const bool accounted = !job.accounted.empty() || !job.ended.empty();
  return stopped(Standing::vanished,
                 fmt::format("job {} is over{}, but the stage is not complete, and nothing says why{}; submit again",
                             job.name(), accounted ? ", by Slurm's account COMPLETED" : "",
                             job.end ? " after this: " + reason_text(*job.end) : ""));
}

/// Slurm does not answer, and nobody gives a sign of life.
StageVerdict Judge::unknown() const {
  const StageJobView& job = *facts_.job;
  if (job.cancelled.empty() && job.end && job.end->goes_on()) return {Standing::requeued, reason_text(*job.end), {}};
  if (const auto noted = noted_end()) return *noted;
  std::string seen;
  for (const AccountedJob& one : job.accounted) seen = fmt::format("; sacct says {}", one.state);
  const double silent = facts_.pulses.empty() ? -1 : facts_.pulses.begin()->second.age(now_);
  if (recorded() && silent >= 0)
    return stopped(Standing::submitted, fmt::format("job {}: its ranks gave their last sign of life {} ago{}",
                                                    job.name(), duration_text(silent), seen));
  return {Standing::submitted,
          fmt::format("job {} was submitted {} ago{}", job.name(), duration_text(now_ - job.submitted.time), seen),
          {}};
}

StageVerdict Judge::without_job() const {
  if (!recorded()) return {Standing::not_started, "", {}};
  if (facts_.failure) return stopped(Standing::failed, facts_.failure->message);
  return {Standing::interrupted, facts_.last_line, {}};
}

}  // namespace

std::string standing_text(Standing standing) {
  constexpr std::array texts{"complete",  "stale",   "running", "stuck",     "suspended", "pending",     "requeued",
                             "submitted", "blocked", "failed",  "cancelled", "vanished",  "interrupted", "not started"};
  return texts[static_cast<std::size_t>(standing)];
}

bool is_under_way(Standing standing) {
  constexpr std::array going{Standing::running, Standing::stuck,    Standing::suspended,
                             Standing::pending, Standing::requeued, Standing::submitted};
  return std::ranges::find(going, standing) != going.end();
}

StageVerdict judge(const StageFacts& facts, const JobBook& book, const std::map<std::string, Standing>& standings,
                   double now) {
  return Judge(facts, book, standings, now).verdict();
}

}  // namespace couplet
