// couplet simulate-preempt: sends a run's jobs what Slurm sends at a time limit or a preemption.
#include "launch/commands/commands.h"
#include "launch/slurm/live_jobs.h"

#include "pipeline/process/log.h"
#include "stages/opened_run.h"

#include <algorithm>

namespace couplet {

CommandSyntax simulate_preempt_syntax() {
  return {.name = "simulate-preempt",
          .arguments = "RUN [STAGE]",
          .summary = "send running jobs the signal that Slurm sends before a time limit, for testing",
          .flags = {{"term", "", "SIGTERM instead, as at a preemption"}},
          .takes_keys = false,
          .notes = "The stage saves at its next step and its job queues itself again, as after the real signal.\n"};
}

namespace {

/// Slurm signals ranks that srun started; with mpirun the script at the time limit, and nobody it could reach on the
/// first node at a preemption: then the script too.
void send(const LiveJob& job, const QueuedJob& queued, const std::string& signal, Scheduler& scheduler) {
  const SignalTarget target = job.submitted.launcher == "mpirun" ? SignalTarget::batch : SignalTarget::steps;
  if (!scheduler.signal(queued.name(), signal, target))
    fail("SIG{} could not be sent to job {} of {}: {}", signal, queued.name(), job.submitted.stage, scheduler.why());
  say("{}: SIG{} to job {}", job.submitted.stage, signal, queued.name());
}

}  // namespace

int simulate_preempt_command(const std::vector<std::string>& words) {
  const CommandLine line(simulate_preempt_syntax(), words);
  if (line.help()) {
    fmt::print("{}", help_text(simulate_preempt_syntax()));
    return exit_ok;
  }
  const RunDirectory run(std::filesystem::absolute(line.argument()).lexically_normal());
  const SlurmFiles files(run);
  if (!std::filesystem::exists(files.jobs()))
    refuse("{} has no jobs: `couplet submit` was not used here", run.root().string());
  const std::string name = line.argument(1);
  std::vector<StageNode> nodes;
  if (!name.empty()) nodes = select_nodes(name, open_run(run.root()).graph);
  Scheduler scheduler(30);
  int sent = 0;
  for (const LiveJob& job : live_jobs(files, scheduler)) {
    const bool meant = name.empty() || std::ranges::find(nodes, job.submitted.stage, &StageNode::name) != nodes.end();
    for (const QueuedJob& queued : job.queued) {
      if (!meant || queued.state != "RUNNING") continue;
      send(job, queued, line.has("term") ? "TERM" : "USR1", scheduler);
      ++sent;
    }
  }
  if (sent == 0) fail("no job {}of {} runs now", name.empty() ? "" : "of " + name + " ", run.root().string());
  return exit_ok;
}

}  // namespace couplet
