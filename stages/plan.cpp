#include "stages/plan.h"

#include "pipeline/config/validation.h"
#include "pipeline/process/log.h"
#include "stages/kinds.h"
#include "storage/files/file_lock.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <ranges>
#include <set>
#include <utility>

namespace couplet {

namespace {

bool is_among(const std::vector<StageNode>& nodes, const StageNode& node) {
  return std::ranges::find(nodes, node.name, &StageNode::name) != nodes.end();
}

/// A node that is complete, with the stages that it runs after about to be made anew.
Decision with_new_inputs(const StageNode& node, const Decision& decision, const std::set<std::string>& anew) {
  if (decision.action != Action::skip) return decision;
  for (const std::string& name : node.after)
    if (anew.contains(name)) return {Action::resume, fmt::format("{} is made anew", name)};
  return decision;
}

/// The stages that lie in the run but are not listed now. Their records tell what they were made from.
std::map<std::string, StageNode> recorded_stages(const RunView& view) {
  std::map<std::string, StageNode> found;
  const auto look = [&](const std::string& name, const std::string& kind) {
    if (look_for_node(view.graph, name) != nullptr) return;
    const auto record = read_record(view.run.stage(name));
    if (!record) return;
    StageNode& node = found[name];
    node.name = name;
    node.kind = kind;
    for (const auto& [input, fingerprint] : record->inputs) node.inputs.push_back(input);
  };
  for (const StageKind& kind : stage_kinds()) {
    look(kind.name, kind.name);
    const std::string folder = kind.name == "couple" ? "coupling" : kind.name;
    if (!std::filesystem::is_directory(view.run.stage(folder))) continue;
    for (const auto& entry : std::filesystem::directory_iterator(view.run.stage(folder)))
      if (entry.is_directory()) look(folder + "/" + entry.path().filename().string(), kind.name);
  }
  return found;
}

/// The same in an order in which they could run: each behind those of its inputs that are among them.
StageGraph unlisted_stages(const RunView& view) {
  const std::map<std::string, StageNode> found = recorded_stages(view);
  StageGraph ordered;
  std::set<std::string> seen;
  const std::function<void(const std::string&)> add = [&](const std::string& name) {
    const auto node = found.find(name);
    if (node == found.end() || !seen.insert(name).second) return;
    for (const std::string& input : node->second.inputs) add(input);
    ordered.push_back(node->second);
  };
  for (const auto& [name, node] : found) add(name);
  return ordered;
}

}  // namespace

Decision decide_stage(const StageNode& node, const RunView& view) {
  const Decision decision = decide(node, view.graph, view.run);
  const StageKind& kind = kind_of(node);
  if (decision.action != Action::skip || kind.missing == nullptr) return decision;
  const std::string missing = kind.missing(node, view);
  return missing.empty() ? decision : Decision{Action::resume, missing};
}

std::vector<PlannedStage> plan_stages(const RunView& view, const std::vector<StageNode>& redone) {
  std::vector<PlannedStage> plan;
  std::set<std::string> anew;
  for (const StageNode& node : view.graph) {
    Decision decision{Action::start, "to be deleted and made again (--redo)"};
    if (!is_among(redone, node)) decision = with_new_inputs(node, decide_stage(node, view), anew);
    if (decision.action != Action::skip) anew.insert(node.name);
    plan.push_back({node, decision});
  }
  return plan;
}

std::vector<StageNode> nodes_to_redo(const std::vector<std::string>& names, const StageGraph& graph) {
  std::vector<StageNode> selected;
  for (const auto& name : names)
    for (const auto& node : select_nodes(name, graph)) selected.push_back(node);
  return with_dependants(selected, graph);
}

void require_stages(const std::vector<PlannedStage>& plan, const RunView& view, std::int64_t ranks) {
  for (const StageKind& kind : stage_kinds()) {
    std::vector<StageNode> nodes;
    for (const PlannedStage& stage : plan)
      if (stage.node.kind == kind.name && stage.decision.action != Action::skip) nodes.push_back(stage.node);
    for (const StageNode& node : nodes)
      if (ranks > 0) validate_ranks(view.config, ranks, node.kind, node.student);
    if (!nodes.empty() && kind.require != nullptr) kind.require(nodes, view);
  }
}

void delete_stages(const std::vector<StageNode>& nodes, const RunView& view) {
  StageGraph all = view.graph;
  std::set<std::string> going;
  for (const auto& node : nodes) going.insert(node.name);
  for (const StageNode& node : unlisted_stages(view)) {
    all.push_back(node);
    if (std::ranges::any_of(node.inputs, [&](const std::string& input) { return going.contains(input); }))
      going.insert(node.name);
  }
  std::erase_if(all, [&](const StageNode& node) { return !read_record(view.run.stage(node.name)); });
  std::vector<std::string> deleted;
  for (const StageNode& node : all)
    if (going.contains(node.name)) deleted.push_back(node.name);
  if (deleted.empty()) return;
  say("deleting, to be made again: {}", fmt::join(deleted, ", "));
  const std::vector<std::string> names(going.begin(), going.end());
  for (const auto& node : all | std::views::reverse) {
    const auto forget = kind_of(node).forget;
    const bool goes = going.contains(node.name);
    if (!goes && forget == nullptr) continue;
    const FileLock lock(view.run.stage_lock(node.name), LockMode::exclusive, "stage " + node.name, orphan_seconds);
    if (goes)
      delete_stage(node, view.run);
    else
      forget(node, view, names);
  }
}

}  // namespace couplet
