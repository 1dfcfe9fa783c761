// What tests of a run's graph share.
#pragma once

#include "pipeline/config/options.h"
#include "stages/graph.h"
#include "stages/kinds.h"

#include <string>
#include <vector>

namespace couplet {

inline Config config_of(std::vector<Setting> settings) {
  offer_members();
  return resolve_config("", settings);
}

inline StageGraph graph_of(const std::vector<Setting>& settings, const ExternalInputs& inputs = {}) {
  return stage_graph(config_of(settings), inputs);
}

inline std::vector<std::string> names_of(const StageGraph& graph) {
  std::vector<std::string> names;
  for (const StageNode& node : graph) names.push_back(node.name);
  return names;
}

using Names = std::vector<std::string>;

/// The stages of `a` that are there in `b` too, and are others.
inline Names changed(const StageGraph& a, const StageGraph& b) {
  Names names;
  for (const StageNode& node : a)
    if (const StageNode* other = look_for_node(b, node.name);
        other != nullptr && other->fingerprint != node.fingerprint)
      names.push_back(node.name);
  return names;
}

}  // namespace couplet
