#include "stages/report/data/judged_couplings.h"

#include "method/couplings/table_pairs.h"
#include "method/data/dataset.h"
#include "method/statistics/coupling_quality.h"
#include "pipeline/run/stage_record.h"
#include "stages/data/run_tables.h"
#include "stages/data/seen_rows.h"
#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/json_text.h"
#include "storage/tables/filenames.h"
#include "storage/tables/table_manifest.h"

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
    const std::filesystem::path manifest = table_directory(view.config, view.run, node.table, split) / manifest_name;
    if (!std::filesystem::exists(manifest)) continue;
    rows += parse_json(read_file(manifest), manifest.string()).at("rows").get<double>();
  }
  if (judged.seconds && *judged.seconds > 0) judged.rate = rows / *judged.seconds;
  if (const StageNode* teacher = look_for_node(view.graph, "teacher"); teacher && node.runs_after(teacher->name))
    judged.teacher_seconds = seconds_of_stage(view.run, teacher->name);
}

/// What was found of the table with these rows before; null if nothing was.
nlohmann::ordered_json known_quality(const std::filesystem::path& path, const std::string& table) {
  if (!std::filesystem::exists(path)) return nullptr;
  const auto known = nlohmann::ordered_json::parse(read_file(path), nullptr, false);
  return known.is_object() && known.value("table", "") == table ? known.value("quality", nlohmann::ordered_json())
                                                                : nlohmann::ordered_json();
}

/// Keeps it beside the table's stage, so that further reports need not find it again. A folder that cannot be written
/// is no error.
void keep_quality(const std::filesystem::path& path, const std::string& table, const nlohmann::ordered_json& quality) {
  try {
    publish_file(path, nlohmann::ordered_json{{"table", table}, {"quality", quality}}.dump(2) + "\n");
  } catch (const Error&) {
    return;
  }
}

std::optional<JudgedCoupling> judge_table(const StageNode& node, const RunView& view) {
  const std::filesystem::path table = table_directory(view.config, view.run, node.table, "train");
  if (!std::filesystem::exists(table / manifest_name)) return std::nullopt;
  JudgedCoupling judged{.coupling = node.table};
  try {
    const std::filesystem::path kept = view.run.stage(node.name) / "quality.json";
    const std::string hash = couplet::content_hash(load_manifest(table, ""));
    judged.quality = known_quality(kept, hash);
    if (judged.quality.is_null()) {
      const Pairs pairs =
          sample_table_pairs(table, RowTable(seen_rows(view.config, view.run, "train"), dataset_format));
      judged.quality = judge_pairs(pairs.image, pairs.noise, pairs.label);
      keep_quality(kept, hash, judged.quality);
    }
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
