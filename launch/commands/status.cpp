// couplet status: where every stage of a run stands, once or again and again.
#include "launch/commands/commands.h"
#include "launch/local/process.h"
#include "launch/status/run_status.h"
#include "launch/status/status_table.h"
#include "storage/text.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace couplet {

CommandSyntax status_syntax() {
  return {
      .name = "status",
      .arguments = "RUN",
      .summary = "show where each stage of a run directory stands, with or without Slurm",
      .flags = {{"json", "", "as JSON"},
                {"watch", "", "again and again, until nothing is under way any more, or Ctrl-C"},
                {"interval", "SECONDS", "between two looks of --watch (default 5)"}},
      .takes_keys = false,
      .notes =
          "A stage is complete; running; stuck (it runs, but a rank gives no sign of life or does not get on);\n"
          "pending or requeued (its job is in Slurm's queue, or again); suspended; blocked (it waits for a job\n"
          "that failed); failed; cancelled; vanished (its job is over, and nothing says why); submitted (Slurm\n"
          "does not answer); interrupted (it was begun, and nobody works on it); incomplete (more is asked for than\n"
          "it has made); not started; or stale (it was made with another configuration than the run's config.ini).\n"};
}

namespace {

constexpr std::size_t usual_width = 120;
constexpr std::int64_t usual_interval = 5;  // seconds: every look asks the cluster's controller

nlohmann::ordered_json known(double number) {
  return number >= 0 ? nlohmann::ordered_json(number) : nlohmann::ordered_json(nullptr);
}

nlohmann::ordered_json to_json(const QueuedJob& job) {
  return {{"job", job.name()},  {"state", job.state},       {"reason", job.reason},
          {"nodes", job.nodes}, {"restarts", job.restarts}, {"seconds_left", known(job.seconds_left)}};
}

nlohmann::ordered_json to_json(const StageOverview& stage) {
  const StageWork& work = stage.work;
  nlohmann::ordered_json json{
      {"stage", stage.name},
      {"state", status_text(stage.explained.status)},
      {"done", work.done},
      {"total", work.total},
      {"unit", work.unit},
      {"rate", work.rate > 0 ? nlohmann::ordered_json(work.rate) : nlohmann::ordered_json(nullptr)},
      {"remaining", known(work.remaining())},
      {"saved_ago", known(work.saved_ago)},
      {"seconds", stage.seconds},
      {"attempts", stage.attempts},
      {"ranks", stage.ranks},
      {"holder", utf8_text(stage.holder)},
      {"message", utf8_text(stage.explained.message)},
      {"log", utf8_text(stage.explained.log.string())},
      {"job", nullptr}};
  if (!stage.job) return json;
  json["job"] = {{"id", stage.job->submitted.job}, {"tasks", stage.job->submitted.array},
                 {"nodes", stage.job->nodes()},    {"requeues", stage.job->requeues},
                 {"retries", stage.job->retries},  {"queue", nlohmann::ordered_json::array()}};
  for (const QueuedJob& job : stage.job->queued) json["job"]["queue"].push_back(to_json(job));
  return json;
}

nlohmann::ordered_json to_json(const RunStatus& run) {
  nlohmann::ordered_json json{
      {"run", utf8_text(run.root)},
      {"holder", utf8_text(run.holder)},
      {"slurm", run.silence.empty() ? nlohmann::ordered_json(nullptr) : nlohmann::ordered_json(utf8_text(run.silence))},
      {"stages", nlohmann::ordered_json::array()}};
  for (const StageOverview& stage : run.stages) json["stages"].push_back(to_json(stage));
  return json;
}

std::string to_text(const RunStatus& run) {
  std::string text = fmt::format("{}: {}\n", run.root, status_summary(run));
  if (!run.silence.empty()) text += fmt::format("Without Slurm, from the run directory alone: {}\n", run.silence);
  text += status_table(run, terminal_width(usual_width));
  if (!run.holder.empty()) text += fmt::format("in use by {}\n", run.holder);
  return text;
}

void print(const std::string& text) {
  fmt::print("{}", text);
  std::fflush(stdout);
}

/// Returns when nothing is under way, or at a signal.
void watch(const RunDirectory& run, bool json, std::int64_t interval) {
  SignalReader signals;
  Scheduler scheduler;
  const bool clears = ::isatty(STDOUT_FILENO) != 0 && !json;
  for (;;) {
    const RunStatus status = run_status(run, &scheduler);
    const char* const home_and_clear = "\033[H\033[2J";
    print((clears ? home_and_clear : "") + (json ? to_json(status).dump() + "\n" : to_text(status)));
    if (status.at_rest() || signals.take().stop) return;
    pollfd event{signals.descriptor(), POLLIN, 0};
    poll(&event, 1, static_cast<int>(interval * 1000));
    if (signals.take().stop) return;
  }
}

}  // namespace

int status_command(const std::vector<std::string>& words) {
  const CommandLine line(status_syntax(), words);
  if (line.help()) {
    fmt::print("{}", help_text(status_syntax()));
    return exit_ok;
  }
  const RunDirectory run(line.argument());
  if (line.has("watch")) {
    watch(run, line.has("json"), std::min<std::int64_t>(line.integer("interval", usual_interval, 1), 86400));
    return exit_ok;
  }
  Scheduler scheduler;
  const RunStatus status = run_status(run, &scheduler);
  print(line.has("json") ? to_json(status).dump(2) + "\n" : to_text(status));
  return exit_ok;
}

}  // namespace couplet
