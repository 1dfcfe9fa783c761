#include "stages/report/data/run_report.h"

#include "pipeline/config/options.h"
#include "pipeline/run/stage.h"
#include "pipeline/run/stage_record.h"
#include "stages/results/score_record.h"
#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/tables/filenames.h"

#include <fmt/format.h>

#include <algorithm>
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

/// results.json is merged at the end of an evaluation; until then a model's own records count.
nlohmann::json read_results(const RunDirectory& run, const std::vector<StageNode>& graph) {
  nlohmann::json all = nlohmann::json::array();
  for (const StageNode& node : graph) {
    if (node.kind != "evaluate") continue;
    const nlohmann::json file = read_json(run.stage(node.name) / "records.json");
    if (file.is_object() && file.contains("records") && file["records"].is_array())
      for (const nlohmann::json& record : file["records"]) all.push_back(record);
  }
  if (!all.empty()) return {{"records", all}};
  return read_json(run.results());
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
  add({PictureKind::teacher, "", directory / "teacher.png"});
  add({.kind = PictureKind::teacher, .student = "", .path = directory / "teacher-denoised.png", .denoised = true});
  add({PictureKind::nearest, "", directory / "teacher-nearest.png"});
  const std::string& grid = config.evaluate.grids.front();
  for (const std::string& coupling : config.student.couplings) {
    const std::string model = fmt::format("{}-{}", coupling, config.student.seeds.front());
    for (const std::int64_t nfe : picture_nfe(config.evaluate, 5)) {
      // One step is the same on every grid and is made on the first.
      add({PictureKind::grid, coupling, directory / fmt::format("{}-fresh-euler-{}-nfe-{:02d}.png", model, grid, nfe),
           nfe, "Euler", grid});
    }
    add({PictureKind::trajectory, coupling, directory / (model + "-trajectory.png")});
    add({PictureKind::nearest, coupling, directory / (model + "-nearest.png")});
  }
  return all;
}

const TrainingConfig* training_of(const StageNode& node, const Config& config) {
  if (node.kind == "features") return &config.features.training;
  if (node.kind == "teacher") return &config.teacher.training;
  if (node.kind == "student") return &config.student.training;
  return nullptr;
}

double rows_of(const std::filesystem::path& table) {
  const nlohmann::json manifest = read_json(table / manifest_name);
  return manifest.is_object() && manifest.contains("rows") ? manifest["rows"].get<double>() : 0;
}

nlohmann::json with_unit(double value, const char* unit) {
  return {{"value", value}, {"unit", unit}};
}

/// Work over the wall time of all attempts; training: over the time of its steps. Null where it is not known.
nlohmann::json rate_of(const StageNode& node, const RunDirectory& run, const nlohmann::json& stage,
                       const LossCurve* curve) {
  if (curve != nullptr && curve->seconds > 0) return with_unit(curve->images / curve->seconds, "images/s");
  const double seconds = stage.value("seconds", 0.0);
  double rows = 0;
  if (node.kind == "prepare") rows = rows_of(run.train_images()) + rows_of(run.test_images());
  if (node.kind == "couple") rows = rows_of(run.coupling()) + rows_of(run.coupling_test());
  if (seconds > 0 && rows > 0) return with_unit(rows / seconds, "rows/s");
  if (node.kind != "evaluate") return {};
  double samples = 0;
  for (const ScoreRecord& record : read_records(read_json(run.stage(node.name) / "records.json")))
    if (record.metric == "frechet_distance" && record.model != "real") samples += static_cast<double>(record.samples);
  return seconds > 0 && samples > 0 ? with_unit(samples / seconds, "samples/s") : nlohmann::json();
}

void read_stages(RunReport& report, const RunDirectory& run, const Config& config,
                 const std::vector<StageNode>& graph) {
  for (const StageNode& node : graph) {
    const TrainingConfig* training = training_of(node, config);
    const std::filesystem::path metrics = run.stage(node.name) / "metrics.jsonl";
    const LossCurve* curve = nullptr;
    if (training != nullptr && std::filesystem::exists(metrics)) {
      report.curves.push_back(read_loss_curve(node.name, metrics, training->batch));
      curve = &report.curves.back();
    }
    nlohmann::json stage = read_json(record_path(run.stage(node.name)));
    if (node.kind == "report" || !stage.is_object()) continue;
    const nlohmann::json rate = rate_of(node, run, stage, curve);
    if (!rate.is_null()) stage["rate"] = rate;
    if (curve != nullptr && curve->seconds > 0)
      stage["waiting"] = with_unit(100 * curve->stalled / curve->seconds, "%");
    report.stages.push_back(std::move(stage));
  }
}

/// Of the images of the data set; 0 where there is no data set.
std::int64_t height_of_images(const RunDirectory& run) {
  const nlohmann::json manifest = read_json(run.train_images() / manifest_name);
  if (!manifest.is_object()) return 0;
  for (const nlohmann::json& column : manifest.value("columns", nlohmann::json::array()))
    if (column.value("name", "") == "image" && column.at("shape").size() == 3)
      return column["shape"][1].get<std::int64_t>();
  return 0;
}

}  // namespace

std::string run_name(const RunDirectory& run) {
  const std::filesystem::path root = std::filesystem::absolute(run.root()).lexically_normal();
  return (root.has_filename() ? root : root.parent_path()).filename().string();
}

RunReport read_run_report(const RunDirectory& run, const Config& config) {
  RunReport report;
  report.name = run_name(run);
  const std::vector<StageNode> graph = stage_graph(config);
  report.results = read_results(run, graph);
  read_stages(report, run, config, graph);
  report.pictures = find_pictures(run, config);
  report.image_height = height_of_images(run);
  for (const auto& table : {run.coupling(), run.coupling_test()}) {
    auto facts = read_coupling_facts(table);
    if (facts) report.tables.push_back(std::move(*facts));
  }
  report.provenance = provenance(run, config, report.results, report.stages);
  report.config = to_ini(config, true);
  report.command = fmt::format("couplet run --config {0}.ini --run-dir runs/{0}-again --ranks {1}", report.name,
                               config.pipeline.ranks);
  return report;
}

}  // namespace couplet
