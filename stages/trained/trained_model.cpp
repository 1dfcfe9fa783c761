#include "stages/trained/trained_model.h"

#include "pipeline/run/stage_record.h"
#include "storage/error.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <optional>
#include <vector>

namespace couplet {

StageNode trained_model(const RunDirectory& run, const Config& config, const std::string& model) {
  std::vector<std::string> trained;
  std::optional<StageNode> unfinished;
  for (const StageNode& node : stage_graph(config)) {
    if (node.kind != "teacher" && node.kind != "student") continue;
    const std::string name = node.kind == "teacher" ? "teacher" : fmt::format("{}-{}", node.coupling, node.seed);
    const auto record = read_record(run.stage(node.name));
    const bool complete = record && record->state == StageState::complete;
    if (complete && name == model) return node;
    if (complete) trained.push_back(name);
    if (name == model) unfinished = node;
  }
  const std::string there =
      trained.empty() ? "no model is trained yet" : fmt::format("there are {}", fmt::join(trained, ", "));
  if (!unfinished) refuse("{}: no trained model '{}'; {}", run.root().string(), model, there);
  refuse("{}: the stage {} is not complete (couplet run or couplet stage goes on with it); {}", run.root().string(),
         unfinished->name, there);
}

}  // namespace couplet
