#include "stages/report/data/judged_couplings.h"

#include "method/couplings/table_pairs.h"
#include "method/data/dataset.h"
#include "method/statistics/coupling_quality.h"
#include "pipeline/run/stage_record.h"
#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/json_text.h"
#include "storage/tables/filenames.h"

#include <filesystem>
#include <set>
#include <utility>

namespace couplet {

namespace {

/// Wall time of a stage over all attempts, once it is complete.
std::optional<double> seconds_of_stage(const RunDirectory& run, const std::string& stage) {
  const std::optional<StageRecord> record = read_record(run.stage(stage));
  if (!record || record->state != StageState::complete) return std::nullopt;
  return record->seconds;
}

/// What it took to make the table of a couple stage.
void add_cost(JudgedCoupling& judged, const StageNode& node, const RunView& view) {
  judged.seconds = seconds_of_stage(view.run, node.name);
  double rows = 0;
  for (const char* split : {"train", "test"}) {
    const std::filesystem::path manifest = view.run.table(node.table, split) / manifest_name;
    if (!std::filesystem::exists(manifest)) continue;
    rows += parse_json(read_file(manifest), manifest.string()).at("rows").get<double>();
  }
  if (judged.seconds && *judged.seconds > 0) judged.rate = rows / *judged.seconds;
  if (const StageNode* teacher = look_for_node(view.graph, "teacher"); teacher && node.runs_after(teacher->name))
    judged.teacher_seconds = seconds_of_stage(view.run, teacher->name);
}

std::optional<JudgedCoupling> judge_table(const StageNode& node, const RunView& view) {
  const std::filesystem::path table = view.run.table(node.table, "train");
  if (!std::filesystem::exists(table / manifest_name)) return std::nullopt;
  JudgedCoupling judged{.coupling = node.table};
  try {
    const Pairs pairs = sample_table_pairs(table, RowTable(view.run.train_images(), dataset_format));
    judged.quality = judge_pairs(pairs.image, pairs.noise, pairs.label);
  } catch (const Error&) {
    return std::nullopt;  // the table's own figures say why it cannot be read
  }
  add_cost(judged, node, view);
  return judged;
}

std::optional<JudgedCoupling> read_drawn(const StageNode& node, const RunView& view) {
  const std::filesystem::path path = view.run.drawn_quality(node.name);
  if (!std::filesystem::exists(path)) return std::nullopt;
  auto quality = nlohmann::ordered_json(parse_json(read_file(path), path.string()));
  JudgedCoupling judged{.coupling = quality.at("coupling").get<std::string>(), .student = node.student};
  quality.erase("coupling");
  judged.quality = std::move(quality);
  return judged;
}

}  // namespace

std::vector<JudgedCoupling> judge_couplings(const RunView& view) {
  std::vector<JudgedCoupling> all;
  std::set<std::string> students;
  for (const StageNode& node : view.graph) {
    std::optional<JudgedCoupling> judged;
    if (!node.table.empty()) judged = judge_table(node, view);
    if (node.kind == "student" && !students.contains(node.student)) judged = read_drawn(node, view);
    if (!judged) continue;
    if (node.kind == "student") students.insert(node.student);
    all.push_back(std::move(*judged));
  }
  return all;
}

}  // namespace couplet
