#include "pipeline/config/options.h"
#include "pipeline/run/stage.h"
#include "storage/error.h"
#include "storage/files/hash.h"

#include <fmt/format.h>

#include <algorithm>

namespace couplet {

namespace {

const StageNode& find_node(const std::vector<StageNode>& graph, const std::string& name) {
  const auto found = std::ranges::find(graph, name, &StageNode::name);
  if (found == graph.end()) fail("the graph has no stage {}", name);
  return *found;
}

/// A model's folder under student/ and evaluate/: "nf-0".
std::string model_name(const std::string& coupling, std::int64_t seed) {
  return fmt::format("{}-{}", coupling, seed);
}

/// Draws random numbers, so that its result depends on pipeline.seed.
bool is_random(const StageNode& node) {
  return node.kind != "prepare" && node.kind != "report";
}

/// Its result depends on the order in which a batch is added up.
bool is_trained(const StageNode& node) {
  return node.kind == "features" || node.kind == "teacher" || node.kind == "student";
}

}  // namespace

std::vector<StageNode> stage_graph(const Config& config) {
  std::vector<StageNode> graph{{"prepare", "prepare", "", 0, {}},
                               {"features", "features", "", 0, {"prepare"}},
                               {"teacher", "teacher", "", 0, {"prepare"}},
                               {"coupling", "couple", "", 0, {"prepare", "teacher"}},
                               {"evaluate/teacher", "evaluate", "", 0, {"prepare", "features", "teacher", "coupling"}}};
  std::vector<std::string> evaluations{"evaluate/teacher"};
  for (const std::int64_t seed : config.student.seeds)
    for (const std::string& coupling : config.student.couplings) {
      const std::string model = model_name(coupling, seed);
      graph.push_back({"student/" + model, "student", coupling, seed, {"prepare", "coupling"}});
      graph.push_back({"evaluate/" + model,
                       "evaluate",
                       coupling,
                       seed,
                       {"prepare", "features", "teacher", "coupling", "student/" + model}});
      evaluations.push_back("evaluate/" + model);
    }
  graph.push_back({"report", "report", "", 0, evaluations});
  return graph;
}

std::map<std::string, std::string> stage_keys(const StageNode& node, const Config& config) {
  std::map<std::string, std::string> keys;
  if (is_random(node)) keys["pipeline.seed"] = value_text(config, "pipeline.seed");
  for (const Option& option : options())
    if (option.kind == OptionKind::result && option.section() == node.kind)  // a kind's section has its name
      keys[option.key] = value_text(config, option.key);
  if (is_trained(node) && config.pipeline.reproducible)
    for (const char* key : {"pipeline.reproducible", "pipeline.slices"}) keys[key] = value_text(config, key);
  if (node.kind == "student") {
    // One of the students listed: its own coupling and seed in place of the lists.
    keys.erase("student.couplings");
    keys.erase("student.seeds");
    keys["student.coupling"] = node.coupling;
    keys["student.seed"] = fmt::format("{}", node.seed);
  }
  return keys;
}

std::string fingerprint(const StageNode& node, const std::vector<StageNode>& graph, const Config& config) {
  std::string text = node.kind + "\n";
  for (const auto& [key, value] : stage_keys(node, config)) text += fmt::format("{} = {}\n", key, value);
  for (const auto& input : node.inputs)
    text += fmt::format("{}: {}\n", input, fingerprint(find_node(graph, input), graph, config));
  return hash_text(text);
}

}  // namespace couplet
