// couplet compare: several runs in one report.
#include "launch/commands/commands.h"

#include "pipeline/run/run_directory.h"
#include "stages/opened_run.h"
#include "stages/report/data/run_report.h"
#include "stages/report/sections/page.h"
#include "stages/results/score_basis.h"
#include "storage/files/atomic_file.h"

#include <fmt/ranges.h>

#include <algorithm>

namespace couplet {

CommandSyntax compare_syntax() {
  return {
      .name = "compare",
      .arguments = "RUN...",
      .summary = "put several runs in one report",
      .flags = {{"output", "FILE.html", "file to write; it must not exist"},
                {"title", "TEXT", "of the page (the runs' names)"}},
      .takes_keys = false,
      .notes =
          "The page is that of RUN/report/report.html, self-contained, with the curves of all runs in one plot and\n"
          "their names before those of the students. Runs need not be finished: what is there is shown; of a run\n"
          "none of whose models has been scored yet there is nothing to show. One run makes its own report.\n"
          "Runs whose Fréchet distances may not be compared are refused: another data set, reference, feature\n"
          "network (by content hash), resize, or number of samples a score.\n"};
}

namespace {

std::vector<RunDirectory> parse_runs(const CommandLine& line) {
  std::vector<RunDirectory> runs;
  for (const std::string& path : line.arguments()) {
    const RunDirectory run(path);
    require_run_directory(run);
    const auto same = std::ranges::find_if(
        runs, [&](const RunDirectory& other) { return std::filesystem::equivalent(other.root(), run.root()); });
    if (same != runs.end()) refuse("{} and {} are the same run", same->root().string(), path);
    runs.push_back(run);
  }
  return runs;
}

/// The directories' names, or, where two are alike, the paths as given.
std::vector<std::string> names_of(const std::vector<RunDirectory>& runs) {
  std::vector<std::string> names;
  for (const RunDirectory& run : runs) names.push_back(run_name(run));
  const std::vector<std::string> short_names = names;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (std::ranges::count(short_names, names[i]) > 1) names[i] = runs[i].root().string();
  }
  return names;
}

}  // namespace

int compare_command(const std::vector<std::string>& words) {
  const CommandLine line(compare_syntax(), words);
  if (line.help()) {
    fmt::print("{}", help_text(compare_syntax()));
    return exit_ok;
  }
  const std::filesystem::path output = new_output(line, {".html"});
  const std::vector<RunDirectory> runs = parse_runs(line);
  const std::vector<std::string> names = names_of(runs);
  ReportData data;
  data.title = line.get("title", fmt::format("{}", fmt::join(names, ", ")));
  data.program = "couplet " COUPLET_VERSION;
  data.folder = output.parent_path();
  std::vector<ScoreBasis> bases;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const OpenedRun opened = open_run(runs[i].root());
    RunReport run = read_run_report(opened.view());
    run.name = names[i];
    if (!run.results.is_object())
      refuse("{} has no scores yet: none of its models has been evaluated", runs[i].root().string());
    bases.push_back(score_basis(names[i], runs[i], opened.config, run.results));
    const std::string differs = difference(bases.back(), bases.front());
    if (i > 0 && !differs.empty()) refuse("these runs cannot be compared: {}", differs);
    data.runs.push_back(std::move(run));
  }
  const std::string page = report_html(report_page(data));
  publish_file(output, page);
  fmt::print("{}: {} run{}, {:.1f} MB\n", output.string(), runs.size(), runs.size() == 1 ? "" : "s",
             static_cast<double>(page.size()) / 1e6);
  return exit_ok;
}

}  // namespace couplet
