#include "stages/report/report.h"

#include "pipeline/liveness/activity.h"
#include "pipeline/process/log.h"
#include "stages/report/data/run_report.h"
#include "stages/report/sections/page.h"
#include "storage/error.h"
#include "storage/files/atomic_file.h"

namespace couplet {

void report(StageContext& context) {
  if (!context.communicator.is_root()) return;
  const Busy busy("writing the report");
  if (!fs::exists(context.run.results()))
    fail("{}: there are no results to report; run the evaluate stages again", context.run.results().string());
  RunReport run = read_run_report(context.run, context.config);
  const fs::path folder = context.run.report().parent_path();
  for (const CouplingFacts& table : run.tables)
    if (!table.picture.empty()) publish_file(folder / table_picture(table), table.picture);
  const Json page = report_page({run.name, "couplet " COUPLET_VERSION, {std::move(run)}, folder});
  publish_file(folder / "report.json", report_json(page));
  const std::string html = report_html(page);
  publish_file(context.run.report(), html);
  say("report: {} ({:.1f} MB)", context.run.report().string(), static_cast<double>(html.size()) / 1e6);
}

}  // namespace couplet
