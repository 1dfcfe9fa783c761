// The report of a run.
#pragma once

#include "pipeline/run/stage.h"

namespace couplet {

/// Gathers results, records, metrics and pictures of the run and publishes RUN/report/report.html, one file with
/// everything in it, and the same for programs, report.json. Rank 0 works.
void report(StageContext& context);

}  // namespace couplet
