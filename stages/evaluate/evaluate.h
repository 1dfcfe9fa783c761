// Scores of students, teacher and held-out images.
#pragma once

#include "pipeline/run/stage_context.h"

namespace couplet {

/// Samples in fixed slices by sample index, so the digits are the same on any number of ranks; noise depends on (seed,
/// sample) and is shared by all models. Publishes records.json and pictures of the node, and merges all nodes' records
/// into RUN/evaluate/results.json.
void evaluate(StageContext& context);

}  // namespace couplet
