// What is to be done with every stage of a run: the same for `couplet run`, for a stage on its own and for a
// submission.
#pragma once

#include "pipeline/run/stage_context.h"
#include "pipeline/run/stage_record.h"

#include <string>
#include <vector>

namespace couplet {

struct PlannedStage {
  StageNode node;
  Decision decision;
};

/// What to do with one node as things stand. As pipeline/run/stage_record's `decide`; a complete node that lacks
/// something that is asked for goes on.
Decision decide_stage(const StageNode& node, const RunView& view);

/// What to do with all of them, in the graph's order, if `redone` are deleted first. What is made from results that are
/// made anew is made anew, too.
std::vector<PlannedStage> plan_stages(const RunView& view, const std::vector<StageNode>& redone = {});

/// The stages of these names and all that are made from them.
std::vector<StageNode> nodes_to_redo(const std::vector<std::string>& names, const StageGraph& graph);
/// Refuses, before any work, files that are missing for what is planned, and a batch that `ranks` do not divide (0: not
/// looked at).
void require_stages(const std::vector<PlannedStage>& plan, const RunView& view, std::int64_t ranks);
/// Deletes from the end of the graph backwards, so that what is left at any moment depends on nothing deleted, and
/// drops what other nodes made with the results of these. Stages that the configuration does not ask for just now go,
/// too, where they were made from these: it may ask for them again. Waits a while for the ranks of a killed
/// launcher to be gone.
void delete_stages(const std::vector<StageNode>& nodes, const RunView& view);

}  // namespace couplet
