// The kinds of stages there are: one table, which is asked by whatever needs to know of them.
#pragma once

#include "pipeline/run/stage_context.h"
#include "pipeline/run/stage_record.h"
#include "stages/cost/stage_cost.h"
#include "stages/stage_progress.h"

#include <string>
#include <vector>

namespace couplet {

struct StageKind {
  std::string name;  ///< "teacher": also the section of its keys
  std::string what;  ///< for help: "train the teacher"
  /// Runs a node to its published result; throws Interrupted when stopped on request. Collective.
  void (*run)(StageContext& context);
  /// How far a node is, by what it has left on the disk.
  StageWork (*progress)(const StageNode& node, const RunView& view);
  /// What a node will cost.
  StageCost (*cost)(const StageNode& node, const CostModel& model);
  /// Refuses nodes of the kind that would only later miss a file, or find one of another kind; may be absent.
  void (*require)(const std::vector<StageNode>& nodes, const RunView& view) = nullptr;
  /// Of a node whose record says complete: what is asked for that it has not made, for people ("3 of 40 scores are not
  /// there yet"); "" if there is nothing. Absent: there never is.
  std::string (*missing)(const StageNode& node, const RunView& view) = nullptr;
  /// Drops of a node's result what was made with the results of `others`, which are to be made anew; may be absent.
  void (*forget)(const StageNode& node, const RunView& view, const std::vector<std::string>& others) = nullptr;
};

/// In the order in which a run meets them.
const std::vector<StageKind>& stage_kinds();
const StageKind& kind_of(const StageNode& node);
/// "prepare, features, ...": for help.
std::string kind_names();

/// What a run of this graph will cost.
Estimate estimate_run(const Config& config, const DatasetSize& dataset, const StageGraph& graph);

/// Gives the options their choices: the members of the registries of method/. Called once, before any configuration is
/// read.
void offer_members();

}  // namespace couplet
