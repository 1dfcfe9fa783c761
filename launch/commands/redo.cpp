#include "launch/commands/redo.h"

#include "method/features/open_network.h"
#include "pipeline/process/log.h"
#include "storage/files/file_lock.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <ranges>

namespace couplet {

namespace {

constexpr double orphan_seconds = 30;  // within which the ranks of a killed launcher are gone

/// Refuses a file that a stage would only miss hours later.
void require_file(const char* key, const std::filesystem::path& path) {
  if (!path.empty() && !std::filesystem::exists(path)) refuse("{}: there is no file {}", key, path.string());
}

void require_files(const StageNode& node, const Config& config) {
  if (node.kind == "prepare") {
    const PrepareConfig& prepare = config.prepare;
    const std::filesystem::path source = prepare.source;
    require_file("prepare.train-images", source / prepare.train_images);
    require_file("prepare.train-labels", source / prepare.train_labels);
    require_file("prepare.test-images", source / prepare.test_images);
    require_file("prepare.test-labels", source / prepare.test_labels);
  }
  if (node.kind == "teacher") require_file("teacher.init", config.teacher.init);
  if (node.kind == "student") require_file("student.init", config.student.init);
  if (node.kind == "evaluate") require_file("evaluate.reference", config.evaluate.reference);
}

/// Refuses a network that cannot be read, or has other arguments: it is opened once for that.
void require_network(const EvaluateConfig& evaluate) {
  if (evaluate.network.empty()) return;
  make_feature_network({evaluate.network, evaluate.network_args}, c10::kCPU);
}

}  // namespace

Flag redo_flag() {
  return {"redo", "STAGE",
          "delete a stage (prepare, features, teacher, couple, student, evaluate, report, or "
          "one by name) and all that depend on it first; may be repeated",
          true};
}

std::vector<StageNode> nodes_to_redo(const std::vector<std::string>& names, const std::vector<StageNode>& graph) {
  std::vector<StageNode> selected;
  for (const auto& name : names)
    for (const auto& node : select_nodes(name, graph)) selected.push_back(node);
  return with_dependants(selected, graph);
}

Decision decide_anew(const StageNode& node, const std::vector<StageNode>& graph, const std::vector<StageNode>& redone,
                     const Config& config, const RunDirectory& run) {
  if (std::ranges::find(redone, node.name, &StageNode::name) != redone.end())
    return {Action::start, "to be deleted and made again (--redo)"};
  return decide(node, graph, config, run);
}

void check_stages(const std::vector<StageNode>& graph, const std::vector<StageNode>& redone, const Config& config,
                  const RunDirectory& run) {
  bool evaluates = false;
  for (const auto& node : graph) {
    if (decide_anew(node, graph, redone, config, run).action == Action::skip) continue;
    require_files(node, config);
    evaluates = evaluates || node.kind == "evaluate";
  }
  if (evaluates) require_network(config.evaluate);
}

void delete_stages(const std::vector<StageNode>& nodes, const RunDirectory& run) {
  std::vector<std::string> names;
  for (const auto& node : nodes)
    if (read_record(run.stage(node.name))) names.push_back(node.name);
  if (names.empty()) return;
  say("deleting, to be made again: {}", fmt::join(names, ", "));
  for (const auto& node : nodes | std::views::reverse) {
    if (!read_record(run.stage(node.name))) continue;
    const FileLock lock(run.stage_lock(node.name), LockMode::exclusive, "stage " + node.name, orphan_seconds);
    delete_stage(node, run);
  }
}

}  // namespace couplet
