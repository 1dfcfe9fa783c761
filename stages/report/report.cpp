#include "stages/report/report.h"

#include "pipeline/liveness/activity.h"
#include "pipeline/process/log.h"
#include "stages/report/data/run_report.h"
#include "stages/report/sections/page.h"
#include "stages/results/score_record.h"
#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/files/hash.h"

namespace couplet {

namespace {

/// What a report was made of: the hash of `contents`, in a file of its own beside the page.
fs::path made_of_path(const StageNode& node, const RunView& view) {
  return view.run.stage(node.name) / "made-of.txt";
}

/// Everything that a report depends on: the stages in their order, by fingerprint, and the scores.
std::string contents(const RunView& view) {
  std::string text;
  for (const StageNode& node : view.graph) {
    text += node.name + " " + node.fingerprint + "\n";
    const fs::path records = view.run.stage(node.name) / "records.json";
    if (node.kind == "evaluate" && fs::exists(records)) text += hash_file(records) + "\n";
    for (const auto& [name, value] : node.settings) text += name + " = " + value + "\n";
  }
  return hash_text(text);
}

}  // namespace

void report(StageContext& context) {
  if (!context.communicator.is_root()) return;
  const WorkingAlone alone("writing the report");
  const RunView view = context.view();
  if (current_results(view).is_null())
    fail("{}: there are no scores to report; run the evaluate stages first", context.run.results().string());
  // A score that is added from here on is news.
  const std::string shown = contents(view);
  publish_results(view);
  RunReport run = read_run_report(view);
  const fs::path folder = context.run.report().parent_path();
  for (const CouplingFacts& table : run.tables)
    if (!table.picture.empty()) publish_file(folder / table_picture(table), table.picture);
  const Json page = report_page({run.name, "couplet " COUPLET_VERSION, {std::move(run)}, folder});
  publish_file(context.run.report_data(), report_json(page));
  const std::string html = report_html(page);
  publish_file(context.run.report(), html);
  publish_file(made_of_path(context.node, view), shown);
  say("report: {} ({:.1f} MB)", context.run.report().string(), static_cast<double>(html.size()) / 1e6);
}

void note_contents(const StageNode& node, const RunView& view) {
  publish_file(made_of_path(node, view), contents(view));
}

std::string report_news(const StageNode& node, const RunView& view) {
  for (const fs::path& published : {view.run.report(), view.run.report_data(), view.run.results()})
    if (!fs::exists(published)) return published.filename().string() + " is not there";
  const fs::path path = made_of_path(node, view);
  return fs::exists(path) && read_file(path) == contents(view) ? "" : "what it shows has changed";
}

void forget_report(const StageNode& node, const RunView& view, const std::vector<std::string>&) {
  fs::remove(made_of_path(node, view));
}

}  // namespace couplet
