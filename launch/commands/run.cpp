// couplet run: every stage of the graph in order on this machine, each by MPI's launcher or, with one rank, a
// process of its own.
#include "launch/commands/commands.h"
#include "launch/local/child_process.h"
#include "launch/local/process.h"
#include "launch/local/ranks.h"
#include "launch/slurm/live_jobs.h"

#include "pipeline/config/options.h"
#include "pipeline/process/interruption.h"
#include "pipeline/process/log.h"
#include "stages/kinds.h"
#include "stages/opened_run.h"
#include "stages/plan.h"
#include "stages/report/score_table.h"
#include "stages/results/score_record.h"
#include "stages/results/scores.h"
#include "storage/files/atomic_file.h"
#include "storage/files/file_lock.h"
#include "storage/text.h"

#include <algorithm>
#include <chrono>

namespace couplet {

CommandSyntax run_syntax() {
  return {.name = "run",
          .arguments = "",
          .summary = "run the whole pipeline on this machine, or what is left of it",
          .flags = {{"run-dir", "DIR", "where everything of the run is kept; made if it does not exist"},
                    {"config", "FILE", "INI file; without it the run's own config.ini, if there is one"},
                    {"ranks", "N", "short for --pipeline.ranks"},
                    redo_flag()},
          .takes_keys = true,
          .notes =
              "Stopped by Ctrl-C, SIGTERM or anything else, the same command goes on: complete stages are skipped,\n"
              "training resumes from its last checkpoint, tables from their last shard.\n"
              "A second Ctrl-C or SIGTERM does not wait for the checkpoint.\n"};
}

namespace {

using Clock = std::chrono::steady_clock;

/// When `pipeline.time-limit`, counted from now, is over.
Clock::time_point end_of_time(double limit) {
  if (limit <= 0) return Clock::time_point::max();
  return Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(limit));
}

struct Run {
  Config config;
  RunDirectory directory;
  StageGraph graph;
  std::int64_t ranks = 1, threads = 1;

  RunView view() const { return {config, directory, graph}; }
};

Run resolve_run(const CommandLine& line) {
  const RunDirectory directory(std::filesystem::path(line.required("run-dir")).lexically_normal());
  std::vector<Setting> settings = line.settings();
  if (line.has("ranks")) settings.push_back({"pipeline.ranks", line.get("ranks"), "--ranks"});
  std::filesystem::path file = line.get("config");
  if (file.empty() && std::filesystem::exists(directory.config())) file = directory.config();
  refuse_earlier_form(directory);
  Run run{resolve_config(file, settings), directory, {}, 1, 1};
  run.graph = stage_graph(run.config, look_at_inputs(run.config, directory));
  run.ranks = resolve_ranks(run.config.pipeline);
  run.threads = resolve_threads(run.config.pipeline, run.ranks);
  return run;
}

/// The command that runs one stage on all ranks.
std::vector<std::string> stage_words(const Run& run, const StageNode& node) {
  std::vector<std::string> words = launcher_words(run.ranks);
  const auto& root = run.directory.root();
  words.insert(words.end(),
               {std::filesystem::read_symlink("/proc/self/exe").string(), "stage", node.name, "--launched",
                fmt::format("{}", run.ranks), "--run-dir", root.string(), "--config", run.directory.config().string()});
  return words;
}

[[noreturn]] void stop(const std::string& when) {
  throw Interrupted(fmt::format("stopped {}; the same command goes on from there", when));
}

void run_stage_processes(const Run& run, const StageNode& node, Clock::time_point stop_at, SignalReader& signals) {
  const auto log = run.directory.stage_log(node.name);
  const ProcessEnd end = run_process(
      {.command = stage_words(run, node), .log = log, .stop_grace = run.config.pipeline.stop_grace, .stop_at = stop_at},
      signals);
  if (end.status == exit_ok) {
    if (end.stop_requested && node.name != run.graph.back().name) stop("after " + node.name);
    return;
  }
  // A rank that was not ready for the signal died of it: nothing was lost that the last checkpoint does not hold.
  const bool by_signal = signal_of(end.status).has_value();
  if (end.killed) stop(fmt::format("in {}, without waiting for its checkpoint", node.name));
  if (end.status == exit_interrupted || (end.stop_requested && by_signal)) stop("in " + node.name);
  throw Error(fmt::format("stage {} failed ({}); its log: {}", node.name, status_text(end.status), log.string()),
              end.status == exit_usage ? exit_usage : exit_failed);
}

void run_stages(const Run& run, Clock::time_point stop_at, SignalReader& signals) {
  for (const auto& node : run.graph) {
    if (signals.take().stop) stop("before " + node.name);
    if (Clock::now() >= stop_at) stop("before " + node.name + ", at pipeline.time-limit");
    const Decision decision = decide_stage(node, run.view());
    if (decision.action == Action::skip) {
      say("{}: skipped: {}", node.name, decision.reason);
      continue;
    }
    run_stage_processes(run, node, stop_at, signals);
  }
}

/// The jobs that `couplet submit` queued would run the same stages, at the latest when this has ended.
void require_no_submitted_jobs(const RunDirectory& directory) {
  const SlurmFiles files(directory);
  if (!std::filesystem::exists(files.jobs())) return;
  const FileLock lock(files.lock(), LockMode::exclusive, "the job list of " + directory.root().string());
  Scheduler scheduler;
  if (scheduler.installed())
    require_no_jobs(live_jobs(files, scheduler), files);
  else
    say("{} was submitted as jobs once; Slurm is not here to say whether some are left", directory.root().string());
}

/// By the records of the evaluations: results.json is a copy of them that somebody may have removed.
void show_results(const Run& run) {
  const RunDirectory& directory = run.directory;
  say("\n{}", score_table(read_scores(current_results(run.view()))));
  say("report:   {}", directory.report().string());
  say("pictures: {}", directory.pictures().string());
}

void create_directories(const RunDirectory& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory.log(), error);
  if (error) fail("cannot make the run directory {}: {}", directory.root().string(), error.message());
}

}  // namespace

Flag redo_flag() {
  return {"redo", "STAGE",
          "delete a stage (" + kind_names() + ", or one by name) and all that is made from it first; may be repeated",
          true};
}

void say_idle_sections(const Config& config) {
  for (const auto& [name, keys] : config.student_sections)
    if (std::ranges::find(config.compare, name) == config.compare.end())
      say("[student.{}] is not used: student.compare does not list {}", name, name);
}

int run_command(const std::vector<std::string>& words) {
  const CommandLine line(run_syntax(), words);
  if (line.help()) {
    fmt::print("{}", help_text(run_syntax()));
    return exit_ok;
  }
  const auto start = Clock::now();
  const Run run = resolve_run(line);
  const Clock::time_point stop_at = end_of_time(run.config.pipeline.time_limit);
  const std::vector<StageNode> redone = nodes_to_redo(line.all("redo"), run.graph);
  const auto require = [&] { require_stages(plan_stages(run.view(), redone), run.view(), run.ranks); };
  // What a new run is refused for leaves no directory behind; where there is one, it is looked at under its lock.
  if (!std::filesystem::exists(run.directory.root())) require();
  create_directories(run.directory);
  SignalReader signals;
  const FileLock lock(run.directory.lock(), LockMode::exclusive, "run directory " + run.directory.root().string());
  require_no_submitted_jobs(run.directory);
  require();
  const std::string text = to_ini(run.config, true, run.directory.root());
  say("{}", text);
  say_idle_sections(run.config);
  say("{} ranks of {} threads in {}", run.ranks, run.threads, run.directory.root().string());
  remove_leftovers(run.directory.root());
  publish_file(run.directory.config(), text);
  delete_stages(redone, run.view());
  set_rank_environment(run.ranks, run.threads);
  run_stages(run, stop_at, signals);
  const std::chrono::duration<double> seconds = Clock::now() - start;
  show_results(run);
  say("done in {}", duration_text(seconds.count()));
  return exit_ok;
}

}  // namespace couplet
