// The report of a run.
#pragma once

#include "pipeline/run/stage_context.h"

#include <string>
#include <vector>

namespace couplet {

/// Gathers scores, records, metrics and pictures of the run and publishes RUN/evaluate/results.json as it is now,
/// RUN/report/report.html, one file with everything in it, the same for programs, report.json, and what the page was
/// made of. Rank 0 works.
void report(StageContext& context);

/// Notes that the report shows the run as it is now.
void note_contents(const StageNode& node, const RunView& view);
/// Why a finished report is to be made anew: a file of it is gone, or shows something else than the run as it is; "" if
/// there is no reason.
std::string report_news(const StageNode& node, const RunView& view);
/// A report is made anew when anything is that it shows.
void forget_report(const StageNode& node, const RunView& view, const std::vector<std::string>& others);

}  // namespace couplet
