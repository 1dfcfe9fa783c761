// The self-contained report.
#pragma once

#include "pipeline/run/stage_context.h"

namespace couplet {

/// Gathers results, records, metrics and pictures of the run and publishes RUN/report/report.html. Rank 0 works.
void report(StageContext& context);

}  // namespace couplet
