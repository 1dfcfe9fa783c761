#include "pipeline/run/stage_graph.h"
#include "storage/error.h"
#include "storage/files/hash.h"
#include "storage/text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

namespace couplet {

bool StageNode::runs_after(const std::string& other) const {
  return std::ranges::find(inputs, other) != inputs.end() || std::ranges::find(after, other) != after.end();
}

void set_fingerprints(StageGraph& graph) {
  for (StageNode& node : graph) {
    std::string text = node.kind + "\n";
    for (const auto& [key, value] : node.keys) text += fmt::format("{} = {}\n", key, value);
    for (const std::string& input : node.inputs)
      text += fmt::format("{}: {}\n", input, find_node(graph, input).fingerprint);
    node.fingerprint = hash_text(text);
  }
}

const StageNode* look_for_node(const StageGraph& graph, const std::string& name) {
  const auto found = std::ranges::find(graph, name, &StageNode::name);
  return found == graph.end() ? nullptr : &*found;
}

const StageNode& find_node(const StageGraph& graph, const std::string& name) {
  const StageNode* found = look_for_node(graph, name);
  if (found == nullptr) fail("the graph has no stage {}", name);
  return *found;
}

std::vector<StageNode> select_nodes(const std::string& name, const StageGraph& graph) {
  std::vector<StageNode> selected;
  std::set<std::string> names;
  for (const auto& node : graph) {
    names.insert({node.name, node.kind});
    if (node.name == name || node.kind == name) selected.push_back(node);
  }
  if (selected.empty()) {
    const std::vector<std::string> candidates(names.begin(), names.end());
    refuse("there is no stage \"{}\" in this run; the nearest is {}; all: {}", name, nearest_name(name, candidates),
           fmt::join(candidates, ", "));
  }
  return selected;
}

std::vector<StageNode> with_dependants(const std::vector<StageNode>& selected, const StageGraph& graph) {
  std::set<std::string> names;
  for (const auto& node : selected) names.insert(node.name);
  std::vector<StageNode> found;
  // The graph lists inputs before the stages that are made from them, so one pass finds all.
  for (const auto& node : graph) {
    const bool depends = std::ranges::any_of(node.inputs, [&](const auto& input) { return names.contains(input); });
    if (!depends && !names.contains(node.name)) continue;
    names.insert(node.name);
    found.push_back(node);
  }
  return found;
}

}  // namespace couplet
