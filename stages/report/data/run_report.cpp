#include "stages/report/data/run_report.h"

#include "pipeline/config/options.h"
#include "pipeline/run/stage_graph.h"
#include "pipeline/run/stage_record.h"
#include "stages/report/data/provenance.h"
#include "stages/results/score_record.h"
#include "stages/trained/models.h"
#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/tables/filenames.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

namespace couplet {

namespace {

/// A JSON file; null where there is none. All are published whole, so that one without JSON in it is damaged: an error.
nlohmann::json read_json(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) return {};
  nlohmann::json json = nlohmann::json::parse(read_file(path), nullptr, false);
  if (json.is_discarded()) fail("{}: no JSON in it; the file is damaged", path.string());
  return json;
}

/// The NFE of which sample pictures are shown: those scored with Euler steps on the first grid, at most `most`.
std::vector<std::int64_t> picture_nfe(const EvaluateConfig& config, std::size_t most) {
  const std::set<std::int64_t> sorted(config.euler_nfe.begin(), config.euler_nfe.end());
  std::vector<std::int64_t> nfe(sorted.begin(), sorted.end());
  if (nfe.size() > most) nfe.resize(most);
  return nfe;
}

std::vector<SamplePicture> find_pictures(const RunDirectory& run, const Config& config) {
  const std::filesystem::path directory = run.pictures();
  std::vector<SamplePicture> all;
  const auto add = [&](SamplePicture picture) {
    if (std::filesystem::exists(picture.path)) all.push_back(std::move(picture));
  };
  add({"the teacher's samples", "teacher", 0, directory / "teacher.png"});
  add({"the teacher's samples, denoised", "teacher", 0, directory / "teacher-denoised.png"});
  add({"the teacher, samples and below each its nearest training images", "teacher", 0,
       directory / "teacher-nearest.png", PictureKind::nearest});
  const std::string& grid = config.evaluate.grids.front();
  for (const std::string& student : config.compare) {
    const std::string model = model_name(student, student_config(config, student).seeds.front());
    for (const std::int64_t nfe : picture_nfe(config.evaluate, 5)) {
      // One step is the same on every grid and is made on the first.
      add({fmt::format("{}, Euler, {} grid, NFE {}", student, grid, nfe), student, nfe,
           directory / fmt::format("{}-fresh-euler-{}-nfe-{:02d}.png", model, grid, nfe)});
    }
    add({student + ", from noise (left) to image (right)", student, 0, directory / (model + "-trajectory.png"),
         PictureKind::trajectory});
    add({student + ", samples and below each its nearest training images", student, 0,
         directory / (model + "-nearest.png"), PictureKind::nearest});
  }
  return all;
}

std::optional<TrainingConfig> training_of(const StageNode& node, const Config& config) {
  if (node.kind == "features") return config.features.training;
  if (node.kind == "teacher") return config.teacher.training;
  if (node.kind == "student") return student_config(config, node.student).training;
  return std::nullopt;
}

double rows_of(const std::filesystem::path& table) {
  const nlohmann::json manifest = read_json(table / manifest_name);
  return manifest.is_object() && manifest.contains("rows") ? manifest["rows"].get<double>() : 0;
}

/// Work over the wall time of all attempts; training: over the time of its steps. Empty where it is not known.
std::string rate_text(const StageNode& node, const RunDirectory& run, const nlohmann::json& stage,
                      const LossCurve* curve) {
  if (curve != nullptr && curve->seconds > 0) return fmt::format("{:.0f} images/s", curve->images / curve->seconds);
  const double seconds = stage.value("seconds", 0.0);
  double rows = 0;
  if (node.kind == "prepare") rows = rows_of(run.train_images()) + rows_of(run.test_images());
  if (!node.table.empty()) rows = rows_of(run.table(node.table, "train")) + rows_of(run.table(node.table, "test"));
  if (seconds > 0 && rows > 0) return fmt::format("{:.0f} rows/s", rows / seconds);
  if (node.kind != "evaluate") return "";
  double samples = 0;
  for (const ScoreRecord& record : read_records(read_json(run.stage(node.name) / "records.json")))
    if (record.metric == "frechet_distance" && record.model != "real") samples += static_cast<double>(record.samples);
  return seconds > 0 && samples > 0 ? fmt::format("{:.0f} samples/s", samples / seconds) : "";
}

void read_stages(RunReport& report, const RunView& view) {
  const RunDirectory& run = view.run;
  for (const StageNode& node : view.graph) {
    const std::optional<TrainingConfig> training = training_of(node, view.config);
    const std::filesystem::path metrics = run.stage(node.name) / "metrics.jsonl";
    const LossCurve* curve = nullptr;
    if (training && std::filesystem::exists(metrics)) {
      report.curves.push_back(read_loss_curve(node.name, metrics, training->batch));
      curve = &report.curves.back();
    }
    nlohmann::json stage = read_json(record_path(run.stage(node.name)));
    if (node.kind == "report" || !stage.is_object()) continue;
    const std::string rate = rate_text(node, run, stage, curve);
    if (!rate.empty()) stage["rate"] = rate;
    if (curve != nullptr && curve->seconds > 0)
      stage["waiting"] = fmt::format("{:.1f} %", 100 * curve->stalled / curve->seconds);
    report.stages.push_back(std::move(stage));
  }
}

std::int64_t count_classes(const RunDirectory& run) {
  const nlohmann::json manifest = read_json(run.train_images() / manifest_name);
  const auto pointer = nlohmann::json::json_pointer("/summary/class_counts");
  return manifest.contains(pointer) ? static_cast<std::int64_t>(manifest[pointer].size()) : 0;
}

}  // namespace

std::string run_name(const RunDirectory& run) {
  const std::filesystem::path root = std::filesystem::absolute(run.root()).lexically_normal();
  return (root.has_filename() ? root : root.parent_path()).filename().string();
}

RunReport read_run_report(const RunView& view) {
  const RunDirectory& run = view.run;
  RunReport report;
  report.name = run_name(run);
  report.results = current_results(view);
  read_stages(report, view);
  report.pictures = find_pictures(run, view.config);
  report.images_across = count_classes(run);
  for (const StageNode& node : view.graph)
    for (const char* split : {"train", "test"}) {
      if (node.table.empty()) continue;
      auto facts = read_coupling_facts(run.table(node.table, split));
      if (facts) report.tables.push_back(std::move(*facts));
    }
  report.provenance = provenance(view, report.results, report.stages);
  report.config = to_ini(view.config, true);
  report.command = fmt::format("couplet run --config {0}.ini --run-dir runs/{0}-again --ranks {1}", report.name,
                               view.config.pipeline.ranks);
  return report;
}

}  // namespace couplet
