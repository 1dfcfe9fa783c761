// The stages by kind.
#pragma once

#include "pipeline/run/stage_context.h"

namespace couplet {

/// Runs one node of the graph to its published result; throws Interrupted when stopped on request. Collective.
void run_stage(StageContext& context);

}  // namespace couplet
