// write_scores RUN: gives every evaluation of the run a record of each score that its configuration asks for, without
// computing any, and leaves a report, with nothing in it, that is noted to show them.
#include "stages/evaluate/score_requests.h"
#include "stages/kinds.h"
#include "stages/opened_run.h"
#include "stages/report/report.h"
#include "stages/results/score_record.h"
#include "storage/error.h"
#include "storage/files/atomic_file.h"

#include <fmt/format.h>

int main(int count, char** words) {
  using namespace couplet;
  if (count != 2) return exit_usage;
  try {
    offer_members();
    const OpenedRun run = open_run(words[1]);
    for (const StageNode& node : run.graph) {
      if (node.kind == "report") {
        for (const auto& path : {run.directory.report(), run.directory.report_data()}) publish_file(path, "");
        publish_results(run.view());
        note_contents(node, run.view());
      }
      if (node.kind != "evaluate") continue;
      Records records(run.directory.stage(node.name));
      for (const ScoreRequest& request : missing_scores(node, run.view()))
        records.add(request.key, request.last_metric, request.with, 1.5, 100, {});
      records.publish();
    }
    return exit_ok;
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return exit_failed;
  }
}
