// Scores of students, teacher and held-out images.
#pragma once

#include "pipeline/run/stage_context.h"

#include <string>
#include <vector>

namespace couplet {

/// Makes the scores that are asked for and not there yet. Samples in fixed slices by sample index, so the digits are
/// the same on any number of ranks; noise depends on (seed, sample) and is shared by all models. Publishes records.json
/// and pictures of the node, and RUN/evaluate/results.json of all nodes.
void evaluate(StageContext& context);

/// Of the scores that are asked for, those that are not there, for people: "3 of 40 scores are new"; "" if all are.
std::string scores_to_make(const StageNode& node, const RunView& view);
/// Drops a node's scores that were made with the results of other nodes.
void forget_scores(const StageNode& node, const RunView& view, const std::vector<std::string>& others);

}  // namespace couplet
