// couplet logs: what the ranks of a stage said, and what they note about themselves.
#include "launch/commands/commands.h"
#include "launch/local/process.h"
#include "launch/status/run_status.h"
#include "launch/status/stage_logs.h"
#include "stages/kinds.h"
#include "stages/opened_run.h"
#include "stages/stage_heartbeats.h"
#include "storage/clock.h"
#include "storage/files/text_tail.h"
#include "storage/filesystem.h"
#include "storage/text.h"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <limits>
#include <map>
#include <span>

namespace couplet {

CommandSyntax logs_syntax() {
  return {
      .name = "logs",
      .arguments = "RUN [STAGE]",
      .summary = "print what the ranks of a stage said, with or without Slurm",
      .flags = {{"rank", "N", "only what this rank said, and what it does now or did last"},
                {"follow", "", "go on printing what is added, over requeues, until Ctrl-C", false, 'f'},
                {"lines", "N", "of each file, the last N lines (default 200; 0: all)"}},
      .takes_keys = false,
      .notes = "STAGE: " + kind_names() +
               ", or one such as student/nf-0;\n"
               "without it, the stage that runs is meant, or else the one that stopped last.\n"
               "The command prints RUN/log/STAGE.log, what the outputs of its jobs (RUN/log/slurm-STAGE-JOB.out) hold\n"
               "besides, and the last heartbeats of its ranks (RUN/log/ranks).\n"};
}

namespace {

constexpr std::int64_t usual_lines = 200;
constexpr std::size_t most_heartbeats = 8;
constexpr int look_milliseconds = 300;

/// The stage that runs, else the one that stopped, else any: of several the one whose log changed last.
StageNode stage_of_interest(const RunDirectory& run, const std::vector<StageNode>& graph) {
  const auto interest = [](StageStatus status) {
    if (status == StageStatus::running || status == StageStatus::stuck) return 2;
    return is_under_way(status) || status == StageStatus::complete || status == StageStatus::not_started ? 0 : 1;
  };
  std::pair<int, double> best{-1, 0};
  const StageNode* chosen = nullptr;
  const RunStatus status = run_status(run, nullptr);
  for (std::size_t i = 0; i < graph.size(); ++i) {
    double changed = 0;
    for (const fs::path& file : log_files(run, graph[i])) changed = std::max(changed, changed_at(file));
    const std::pair<int, double> rating{interest(status.stages[i].explained.status), changed};
    if (changed == 0 || rating < best) continue;
    best = rating;
    chosen = &graph[i];
  }
  if (!chosen) fail("{}: no stage has left a log yet", run.log().string());
  return *chosen;
}

/// Prints lines of several files, with a heading where another file than the last one speaks.
class Printer {
public:
  void print(const fs::path& file, const std::string& line) {
    if (file != last_) fmt::print("{}==> {} <==\n", last_.empty() ? "" : "\n", file.string());
    last_ = file;
    fmt::print("{}\n", line);
  }
  bool nothing() const { return last_.empty(); }

private:
  fs::path last_;
};

/// The files of the stages asked about, as they grow and as more of them appear.
class Reader {
public:
  Reader(const RunDirectory& run, std::vector<StageNode> nodes, std::optional<std::int64_t> rank, std::int64_t lines)
      : run_(run), nodes_(std::move(nodes)), rank_(rank), lines_(lines) {}

  /// Prints what is new. `whole`: a line that is still being written, too.
  void print_new(Printer& printer, bool whole) {
    for (const StageNode& node : nodes_)
      for (const fs::path& path : log_files(run_, node)) print_new(printer, node, path, whole);
    first_ = false;
  }

private:
  void print_new(Printer& printer, const StageNode& node, const fs::path& path, bool whole) {
    // Files that appear later are printed from their start.
    const std::size_t all = std::numeric_limits<std::size_t>::max() / 2;
    const auto [file, added] = files_.try_emplace(path, path, first_ && lines_ > 0 ? std::size_t{1} << 20 : all);
    std::vector<std::string> lines = file->second.new_lines();
    if (whole)
      if (const std::string line = file->second.unfinished_line(); !line.empty()) lines.push_back(line);
    const LineFilter filter(node, rank_);
    std::erase_if(lines, [&](const std::string& line) { return !filter.picks(path, line); });
    const std::size_t most = first_ && lines_ > 0 ? static_cast<std::size_t>(lines_) : all;
    for (const std::string& line : std::span(lines).last(std::min(lines.size(), most))) printer.print(path, line);
  }

  const RunDirectory& run_;
  std::vector<StageNode> nodes_;
  std::optional<std::int64_t> rank_;
  std::int64_t lines_;
  std::map<fs::path, GrowingFile> files_;
  bool first_ = true;
};

/// Prints the ranks' heartbeats. Returns true if there are some of the rank asked about.
bool print_heartbeats(Printer& printer, const RunDirectory& run, const std::vector<StageNode>& nodes,
                      std::optional<std::int64_t> rank) {
  const auto wanted = [&](const std::string& name) {
    return std::ranges::any_of(nodes, [&](const StageNode& node) { return is_heartbeat_name_of(name, node); });
  };
  const fs::path file = run.heartbeats();
  bool any = false;
  for (const auto& [name, heartbeats] : HeartbeatFiles::read_all(file, wanted)) {
    std::size_t printed = 0;
    for (const Heartbeat& heartbeat : heartbeats) {
      if (rank && heartbeat.rank != *rank) continue;
      if (!rank && printed++ >= most_heartbeats) continue;
      any = true;
      printer.print(file, fmt::format("{}: {}; noted {} ago", name, activity_text(heartbeat, heartbeat.time),
                                      duration_text(std::max(0.0, unix_now() - heartbeat.time))));
    }
    if (printed > most_heartbeats)
      printer.print(file, fmt::format("{}: {} more ranks: --rank N", name, printed - most_heartbeats));
  }
  return any;
}

/// Until Ctrl-C.
void follow(Reader& reader, Printer& printer) {
  SignalReader signals;
  for (;;) {
    std::fflush(stdout);
    pollfd event{signals.descriptor(), POLLIN, 0};
    poll(&event, 1, look_milliseconds);
    if (signals.take().stop) return;
    reader.print_new(printer, false);
  }
}

}  // namespace

int logs_command(const std::vector<std::string>& words) {
  const CommandLine line(logs_syntax(), words);
  if (line.help()) {
    fmt::print("{}", help_text(logs_syntax()));
    return exit_ok;
  }
  const RunDirectory run(line.argument());
  const auto graph = open_run(run.root()).graph;
  const std::vector<StageNode> nodes =
      line.argument(1).empty() ? std::vector{stage_of_interest(run, graph)} : select_nodes(line.argument(1), graph);
  std::optional<std::int64_t> rank;
  if (line.has("rank")) rank = line.integer("rank", 0, 0);
  Reader reader(run, nodes, rank, line.integer("lines", usual_lines, 0));
  Printer printer;
  reader.print_new(printer, !line.has("follow"));
  if (line.has("follow")) {
    follow(reader, printer);
    return exit_ok;
  }
  const bool said = !printer.nothing();
  if (print_heartbeats(printer, run, nodes, rank) || said) return exit_ok;
  if (rank)
    fail("rank {} of {} has left neither a line nor a note in {}", *rank, nodes.front().name, run.log().string());
  fail("{} has left no log in {}", nodes.front().name, run.log().string());
}

}  // namespace couplet
