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
  const ReportData data{run.name, "couplet " COUPLET_VERSION, {std::move(run)}};
  const std::string page = report_html(data);
  publish_file(context.run.report(), page);
  say("report: {} ({:.1f} MB)", context.run.report().string(), static_cast<double>(page.size()) / 1e6);
}

}  // namespace couplet
