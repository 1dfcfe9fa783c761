// couplet cancel: ends the jobs of a run, so that they stay ended.
#include "launch/commands/commands.h"
#include "launch/slurm/live_jobs.h"

#include "pipeline/process/log.h"
#include "stages/kinds.h"
#include "stages/opened_run.h"
#include "storage/files/file_lock.h"
#include "storage/host_name.h"

#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>

namespace couplet {

CommandSyntax cancel_syntax() {
  return {
      .name = "cancel",
      .arguments = "RUN [STAGE]",
      .summary = "cancel the Slurm jobs of a run, or of one stage",
      .flags = {},
      .takes_keys = false,
      .notes = "STAGE: " + kind_names() +
               ",\nor one such as student/nf-0. Slurm also cancels the jobs that wait for it. A cancelled job does\n"
               "not queue itself again; `couplet submit` goes on from what is saved.\n"};
}

namespace {

/// "user@host"
std::string own_name() {
  const char* user = std::getenv("USER");
  return fmt::format("couplet cancel ({}@{})", user ? user : fmt::format("{}", ::getuid()), host_name());
}

/// Those of the stages that the user named; all without a name.
std::vector<LiveJob> select(std::vector<LiveJob> jobs, const std::string& name, const RunDirectory& run) {
  if (name.empty()) return jobs;
  const auto nodes = select_nodes(name, open_run(run.root()).graph);
  std::erase_if(jobs, [&](const LiveJob& job) {
    return std::ranges::find(nodes, job.submitted.stage, &StageNode::name) == nodes.end();
  });
  return jobs;
}

}  // namespace

int cancel_command(const std::vector<std::string>& words) {
  const CommandLine line(cancel_syntax(), words);
  if (line.help()) {
    fmt::print("{}", help_text(cancel_syntax()));
    return exit_ok;
  }
  const RunDirectory run(std::filesystem::absolute(line.argument()).lexically_normal());
  const SlurmFiles files(run);
  if (!std::filesystem::exists(files.jobs()))
    refuse("{} has no jobs: `couplet submit` was not used here", run.root().string());
  const FileLock lock(files.lock(), LockMode::exclusive, "the job list of " + run.root().string());
  Scheduler scheduler(30);
  const auto jobs = select(live_jobs(files, scheduler), line.argument(1), run);
  if (jobs.empty()) {
    say("no job {}waits or runs", line.argument(1).empty() ? "" : "of " + line.argument(1) + " ");
    return exit_ok;
  }
  std::vector<std::string> texts;
  for (const LiveJob& job : jobs) texts.push_back(job.text());
  cancel_jobs(jobs, files, scheduler, own_name());
  say("cancelled: {}", fmt::join(texts, ", "));
  return exit_ok;
}

}  // namespace couplet
