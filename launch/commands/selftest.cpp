// couplet selftest: whether the program works where it is installed, on one rank or on all ranks of a job.
#include "launch/selftest/selftest.h"
#include "launch/commands/commands.h"
#include "launch/commands/rank_end.h"
#include "launch/local/child_process.h"
#include "launch/local/process.h"
#include "launch/local/ranks.h"

#include "pipeline/distributed/make_communicator.h"
#include "pipeline/process/interruption.h"
#include "pipeline/process/log.h"
#include "storage/filesystem.h"
#include "storage/host_name.h"

namespace couplet {

CommandSyntax selftest_syntax() {
  return {
      .name = "selftest",
      .arguments = "",
      .summary = "try whether the program works here: ranks, files, devices, training",
      .flags = {{"dir", "DIR", "where files are written and read back; the current directory by default"},
                {"ranks", "N", "start N ranks on this machine, as `couplet run` does"}},
      .takes_keys = false,
      .notes =
          "Prints a line a check (ok, FAILED or skipped, with figures), within a minute, and leaves nothing behind.\n"
          "On all ranks of a job: mpirun -n N couplet selftest, or srun. Give it a directory on the file system\n"
          "where runs are to be kept. docs/commands.md says what each check tries.\n"};
}

namespace {

void require_directory(const fs::path& directory) {
  if (!is_there(directory)) refuse("--dir {} is not there on {}; make it first", directory.string(), host_name());
  if (!fs::is_directory(directory)) refuse("--dir {} is no directory on {}", directory.string(), host_name());
}

/// Starts the ranks, and waits for them.
int start_ranks(std::int64_t ranks, const std::string& directory) {
  require_directory(directory);
  std::vector<std::string> words = launcher_words(ranks);
  words.insert(words.end(),
               {fs::read_symlink("/proc/self/exe").string(), "selftest", "--dir", fs::absolute(directory).string()});
  set_rank_environment(ranks, resolve_threads({}, ranks));
  SignalReader signals;
  const ProcessEnd end = run_process(
      {.command = words, .log = "/dev/null", .stop_grace = 60, .stops_at = "the end of the check"}, signals);
  if (end.killed) throw Interrupted("stopped without waiting; .partial-*-couplet-selftest may be left in " + directory);
  if (end.stop_requested && end.status != exit_ok) throw Interrupted("stopped on request");
  if (signal_of(end.status).has_value()) fail("the ranks' launcher has {}", status_text(end.status));
  return end.status;
}

int test_as_rank(const fs::path& directory) {
  watch_signals(Repeats::nothing);  // `--ranks` repeats its request every second
  return run_rank([&] {
    try {
      if (is_launchers_child()) end_with_parent();
      require_directory(directory);
      run_selftest(fs::absolute(directory));
      return static_cast<int>(exit_ok);
    } catch (const Interrupted& interrupted) {
      say("{}", interrupted.what());
      return static_cast<int>(exit_interrupted);
    }
  });
}

}  // namespace

int selftest_command(const std::vector<std::string>& words) {
  const CommandLine line(selftest_syntax(), words);
  if (line.help()) {
    fmt::print("{}", help_text(selftest_syntax()));
    return exit_ok;
  }
  const std::string directory = line.get("dir", ".");
  const std::int64_t ranks = line.integer("ranks", 1, 1);
  if (line.has("ranks") && started_by_mpi())
    refuse("--ranks {}: this process is a rank already; leave --ranks out under mpirun and srun", ranks);
  return ranks > 1 ? start_ranks(ranks, directory) : test_as_rank(directory);
}

}  // namespace couplet
