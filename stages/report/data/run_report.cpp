#include "stages/report/data/run_report.h"

#include "method/data/dataset.h"
#include "method/solvers/integration.h"
#include "pipeline/config/options.h"
#include "pipeline/run/stage_graph.h"
#include "pipeline/run/stage_record.h"
#include "stages/data/run_tables.h"
#include "stages/data/seen_rows.h"
#include "stages/results/field_setting.h"
#include "stages/results/score_record.h"
#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/json_text.h"
#include "storage/tables/filenames.h"
#include "storage/text.h"

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
  return parse_json(read_file(path), path.string());
}

/// The NFE of which sample pictures are shown: those scored with Euler steps on the first grid, at most `most`. Also 1,
/// which one-step students are scored at whatever is asked for.
std::vector<std::int64_t> picture_nfe(const EvaluateConfig& config, std::size_t most) {
  const std::set<std::int64_t> sorted(config.euler_nfe.begin(), config.euler_nfe.end());
  std::vector<std::int64_t> nfe(sorted.begin(), sorted.end());
  if (nfe.size() > most) nfe.resize(most);
  if (!sorted.contains(1)) nfe.insert(nfe.begin(), 1);
  return nfe;
}

/// Finds the pictures that are there; those of students are of the first field that was asked for.
std::vector<SamplePicture> find_pictures(const RunDirectory& run, const Config& config) {
  const std::filesystem::path directory = run.pictures();
  std::vector<SamplePicture> all;
  const auto add = [&](SamplePicture picture) {
    if (std::filesystem::exists(picture.path)) all.push_back(std::move(picture));
  };
  add({PictureKind::teacher, "", directory / "teacher.png"});
  add({.kind = PictureKind::teacher, .student = "", .path = directory / "teacher-denoised.png", .denoised = true});
  add({PictureKind::nearest, "", directory / "teacher-nearest.png"});
  add({PictureKind::reconstructed, "", directory / "reconstruction.png"});
  const std::string& grid = config.evaluate.grids.front();
  for (const std::string& student : config.compare) {
    const StudentConfig settings = student_config(config, student);
    const std::string model = model_name(student, settings.seeds.front());
    const FieldSetting field = field_settings(config.evaluate, settings).front();
    for (const std::int64_t nfe : picture_nfe(config.evaluate, 5)) {
      // One step is the same on every grid and is made on the first.
      const Integration integration = fixed_integration(Solver::euler, parse_grid(grid), nfe);
      add({.kind = PictureKind::grid,
           .student = student,
           .path = directory / sheet_name(model, "fresh", integration, field, settings),
           .nfe = nfe,
           .solver = "Euler",
           .grid = grid,
           .guidance = field.guidance.scale,
           .temperature = field.temperature,
           .ema = field.ema});
    }
    add({PictureKind::trajectory, student, directory / (model + "-trajectory.png")});
    add({PictureKind::nearest, student, directory / (model + "-nearest.png")});
    add({PictureKind::restored, student, directory / (model + "-restored.png")});
  }
  return all;
}

std::optional<TrainingConfig> training_of(const StageNode& node, const Config& config) {
  if (node.kind == "features" || node.kind == "loss-features") return config.features.training;
  if (node.kind == "autoencoder") return config.autoencoder.training;
  if (node.kind == "gaussianiser") return config.gaussianiser.training;
  if (node.kind == "teacher") return config.teacher.training;
  if (node.kind == "noise-classifier") return config.noise_classifier.training;
  if (node.kind == "student") return student_config(config, node.student).training;
  return std::nullopt;
}

double rows_of(const std::filesystem::path& table) {
  const nlohmann::json manifest = read_json(table / manifest_name);
  return manifest.is_object() && manifest.contains("rows") ? manifest["rows"].get<double>() : 0;
}

nlohmann::json with_unit(double value, const char* unit) {
  return {{"value", value}, {"unit", unit}};
}

/// Says how fast a stage worked: over the wall time of all attempts, in training over the time of its steps. Null where
/// it is not known.
nlohmann::json rate_of(const StageNode& node, const RunView& view, const nlohmann::json& stage,
                       const LossCurve* curve) {
  const RunDirectory& run = view.run;
  if (curve != nullptr && curve->seconds > 0) return with_unit(curve->images / curve->seconds, "images/s");
  const double seconds = stage.value("seconds", 0.0);
  double rows = 0;
  if (node.kind == "prepare") rows = rows_of(run.train_images()) + rows_of(run.test_images());
  if (node.kind == "latents") rows = rows_of(run.latents("train")) + rows_of(run.latents("test"));
  if (!node.table.empty())
    for (const char* split : {"train", "test"}) rows += rows_of(table_directory(view.config, run, node.table, split));
  if (seconds > 0 && rows > 0) return with_unit(rows / seconds, "rows/s");
  if (node.kind != "evaluate") return {};
  double samples = 0;
  for (const ScoreRecord& record : read_records(read_json(run.stage(node.name) / "records.json")))
    if ((record.metric == "frechet_distance" || record.metric == "wasserstein_distance") && record.model != "real")
      samples += static_cast<double>(record.samples);
  return seconds > 0 && samples > 0 ? with_unit(samples / seconds, "samples/s") : nlohmann::json();
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
    const nlohmann::json rate = rate_of(node, view, stage, curve);
    if (!rate.is_null()) stage["rate"] = rate;
    if (curve != nullptr && curve->seconds > 0)
      stage["waiting"] = with_unit(100 * curve->stalled / curve->seconds, "%");
    report.stages.push_back(std::move(stage));
  }
}

/// Finds how high the images of the data set are; 0 where there is no data set.
std::int64_t height_of_images(const RunDirectory& run) {
  const nlohmann::json manifest = read_json(run.train_images() / manifest_name);
  if (!manifest.is_object()) return 0;
  for (const nlohmann::json& column : manifest.value("columns", nlohmann::json::array()))
    if (column.value("name", "") == "image" && column.at("shape").size() == 3)
      return column["shape"][1].get<std::int64_t>();
  return 0;
}

/// Of what models see.
std::shared_ptr<const Codec> codec_of_run(const RunView& view) {
  const std::filesystem::path images = seen_rows(view.config, view.run, "train");
  const nlohmann::json manifest = read_json(images / manifest_name);
  return manifest.is_object() ? codec_of(manifest.at("provenance"), images) : pixel_codec();
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
  report.has_students = !view.config.compare.empty();
  report.results = current_results(view);
  read_stages(report, view);
  report.pictures = find_pictures(run, view.config);
  report.points = read_point_panels(run, view.config);
  report.image_height = height_of_images(run);
  const auto codec = codec_of_run(view);
  for (const StageNode& node : view.graph)
    for (const char* split : {"train", "test"}) {
      if (node.table.empty()) continue;
      auto facts = read_coupling_facts(table_directory(view.config, run, node.table, split), *codec);
      if (facts) report.tables.push_back(std::move(*facts));
    }
  report.couplings = judge_couplings(view);
  report.provenance = provenance(view, report.results, report.stages);
  report.config = to_ini(view.config, true);
  report.command = fmt::format("couplet run --config {} --run-dir {} --ranks {}", quoted(report.name + ".ini"),
                               quoted("runs/" + report.name + "-again"), view.config.pipeline.ranks);
  return report;
}

}  // namespace couplet
