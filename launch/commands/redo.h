// What `couplet run` and `couplet submit` see to before they start stages: what is to be deleted and made anew, and
// that nothing is missing.
#pragma once

#include "launch/commands/command_line.h"

#include "pipeline/run/stage_record.h"

#include <string>
#include <vector>

namespace couplet {

/// --redo STAGE
Flag redo_flag();
/// The stages of these names and all that depend on them.
std::vector<StageNode> nodes_to_redo(const std::vector<std::string>& names, const std::vector<StageNode>& graph);
/// What is to be done with a stage; one that is `redone` is started.
Decision decide_anew(const StageNode& node, const std::vector<StageNode>& graph, const std::vector<StageNode>& redone,
                     const Config& config, const RunDirectory& run);
/// Refuses, before any work, a run directory that other results are in, and files that are missing for what is to be
/// done; also a feature network that cannot be read.
void check_stages(const std::vector<StageNode>& graph, const std::vector<StageNode>& redone, const Config& config,
                  const RunDirectory& run);
/// Deletes from the end of the graph backwards, so that what is left at any moment depends on nothing deleted. Waits a
/// while for the ranks of a killed launcher to be gone.
void delete_stages(const std::vector<StageNode>& nodes, const RunDirectory& run);

}  // namespace couplet
