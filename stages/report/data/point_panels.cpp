#include "stages/report/data/point_panels.h"

#include "method/solvers/integration.h"
#include "pipeline/config/options.h"
#include "stages/data/run_source.h"
#include "stages/results/field_setting.h"
#include "storage/files/atomic_file.h"
#include "storage/json_text.h"

#include <filesystem>
#include <set>
#include <utility>

namespace couplet {
namespace {

/// The panels of a file; none where there is none.
nlohmann::json::array_t panels_of(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) return {};
  return json_member<nlohmann::json::array_t>(parse_json(read_file(path), path.string()), "panels", path.string());
}

}  // namespace

std::vector<PointPanels> read_point_panels(const RunDirectory& run, const Config& config) {
  if (!has_points(config.prepare)) return {};
  const std::filesystem::path directory = run.pictures();
  std::vector<PointPanels> all{{"", panels_of(directory / "data.json")}};
  std::set<std::int64_t> nfe(config.evaluate.euler_nfe.begin(), config.evaluate.euler_nfe.end());
  nfe.insert(1);  // of one-step students, whatever is asked for
  for (const std::string& student : config.compare) {
    const StudentConfig settings = student_config(config, student);
    const std::string model = model_name(student, settings.seeds.front());
    const FieldSetting field = field_settings(config.evaluate, settings).front();
    PointPanels found{student, nlohmann::json::array()};
    const auto add = [&](const std::string& file, std::int64_t evaluations = 0) {
      for (nlohmann::json& panel : panels_of(directory / file)) {
        if (evaluations > 0) panel["nfe"] = evaluations;
        found.panels.push_back(std::move(panel));
      }
    };
    add(model + "-density.json");
    for (const std::int64_t evaluations : nfe) {
      const Integration integration =
          fixed_integration(Solver::euler, parse_grid(config.evaluate.grids.front()), evaluations);
      const std::filesystem::path sheet = sheet_name(model, "fresh", integration, field, settings);
      add(std::filesystem::path(sheet).replace_extension(".json").string(), evaluations);
    }
    add(model + "-trajectory.json");
    add(model + "-field.json");
    all.push_back(std::move(found));
  }
  std::erase_if(all, [](const PointPanels& of) { return of.panels.empty(); });
  return all;
}

}  // namespace couplet
