#include "stages/report/sections/findings.h"
#include "stages/report/sections/sections.h"
#include "storage/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace couplet {

namespace {

/// Fields of stage.json that are shown, in this order.
constexpr const char* known_fields[] = {"state",   "seconds",  "rate",   "waiting", "ranks",
                                        "threads", "attempts", "device", "program"};

/// A JSON value as a cell shows it; nothing for null.
std::string cell_text(const nlohmann::json& stage, const std::string& name) {
  const auto found = stage.find(name);
  if (found == stage.end() || found->is_null()) return "";
  if (name == "seconds" && found->is_number()) return duration_text(found->get<double>());
  if (found->is_object() && found->contains("unit")) {
    const std::string unit = found->at("unit");
    return fmt::format("{:.{}f} {}", found->at("value").get<double>(), unit == "%" ? 1 : 0, unit);
  }
  if (found->is_string()) return found->get<std::string>();
  if (found->is_number_float()) return number_text(found->get<double>());
  return found->dump();
}

}  // namespace

Json stage_section(const Page& page) {
  std::vector<std::pair<const RunReport*, const nlohmann::json*>> stages;
  for (const RunReport& run : page.data.runs)
    for (const nlohmann::json& stage : run.stages) stages.emplace_back(&run, &stage);
  if (stages.empty()) return nullptr;
  Json columns = Json::array();
  for (const char* field : known_fields) {
    const auto has = [&](const auto& stage) { return !cell_text(*stage.second, field).empty(); };
    if (std::ranges::any_of(stages, has)) columns.push_back({{"kind", field}});
  }
  Json rows = Json::array();
  double seconds = 0;
  for (const auto& [run, stage] : stages) {
    Json cells = Json::array();
    for (const Json& column : columns) {
      const std::string field = column.at("kind");
      cells.push_back(
          {{"field", field}, {"value", stage->value(field, nlohmann::json())}, {"text", cell_text(*stage, field)}});
    }
    rows.push_back({{"name", page.name(*run, cell_text(*stage, "stage"))}, {"cells", std::move(cells)}});
    if (stage->contains("seconds") && stage->at("seconds").is_number()) seconds += stage->at("seconds").get<double>();
  }
  return {{"columns", std::move(columns)},
          {"rows", std::move(rows)},
          {"seconds", seconds > 0 ? figure(seconds, duration_text(seconds)) : Json()}};
}

}  // namespace couplet
