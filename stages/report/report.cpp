#include "stages/report/report.h"

#include "pipeline/activity.h"
#include "pipeline/log.h"
#include "pipeline/options.h"
#include "pipeline/stage_record.h"
#include "stages/report/html.h"
#include "storage/atomic_file.h"

#include <algorithm>
#include <set>

namespace couplet {
namespace {

/// The NFE of which sample pictures are shown: those scored with Euler steps on the first grid, at most `most`.
std::vector<std::int64_t> picture_nfe(const EvaluateConfig& config, std::size_t most) {
  const std::set<std::int64_t> sorted(config.euler_nfe.begin(), config.euler_nfe.end());
  std::vector<std::int64_t> nfe(sorted.begin(), sorted.end());
  if (nfe.size() > most) nfe.resize(most);
  return nfe;
}

std::vector<SamplePicture> pictures(const StageContext& context) {
  const Config& config = context.config;
  const fs::path directory = context.run.pictures();
  std::vector<SamplePicture> all = {{"the teacher's samples", "teacher", 0, directory / "teacher.png"}};
  if (fs::exists(directory / "teacher-denoised.png")) {
    all.push_back({"the teacher's samples, denoised", "teacher", 0, directory / "teacher-denoised.png"});
  }
  const std::string& grid = config.evaluate.grids.front();
  for (const std::string& coupling : config.student.couplings) {
    for (const std::int64_t nfe : picture_nfe(config.evaluate, 5)) {
      // One step is the same on every grid and is made on the first.
      all.push_back({fmt::format("{}, Euler, {} grid, NFE {}", coupling, grid, nfe), coupling, nfe,
                     directory / fmt::format("{}-{}-fresh-euler-{}-nfe-{:02d}.png", coupling,
                                             config.student.seeds.front(), grid, nfe)});
    }
  }
  return all;
}

const TrainingConfig* training_of(const StageNode& node, const Config& config) {
  if (node.kind == "features") return &config.features.training;
  if (node.kind == "teacher") return &config.teacher.training;
  if (node.kind == "student") return &config.student.training;
  return nullptr;
}

}  // namespace

void report(StageContext& context) {
  if (!context.communicator.is_root()) return;
  const Busy busy("writing the report");
  const RunDirectory& run = context.run;
  ReportData data;
  data.title = run.root().filename().string();
  data.results = nlohmann::json::parse(read_file(run.results()));
  for (const StageNode& node : stage_graph(context.config)) {
    const fs::path record = record_path(run.stage(node.name));
    if (node.kind != "report" && fs::exists(record)) data.stages.push_back(nlohmann::json::parse(read_file(record)));
    const TrainingConfig* training = training_of(node, context.config);
    const fs::path metrics = run.stage(node.name) / "metrics.jsonl";
    if (training != nullptr && fs::exists(metrics))
      data.curves.push_back(read_loss_curve(node.name, metrics, training->batch));
  }
  data.pictures = pictures(context);
  data.config = to_ini(context.config, true);
  data.command = fmt::format("couplet run --config {} --run-dir RUN", run.config().string());
  data.program = "couplet " COUPLET_VERSION;
  const std::string page = report_html(data);
  publish_file(run.report(), page);
  say("report: {} ({:.1f} MB)", run.report().string(), static_cast<double>(page.size()) / 1e6);
}

}  // namespace couplet
