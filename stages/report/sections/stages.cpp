#include "stages/report/html/markup.h"
#include "stages/report/sections/sections.h"
#include "storage/text.h"

#include <algorithm>
#include <map>
#include <vector>

namespace couplet {

namespace {

/// Fields of stage.json and what they are called.
const std::vector<std::pair<std::string, std::string>>& known_fields() {
  static const std::vector<std::pair<std::string, std::string>> all{
      {"state", "state"},    {"seconds", "time"},    {"rate", "rate"},         {"waiting", "waiting for data or ranks"},
      {"ranks", "ranks"},    {"threads", "threads"}, {"attempts", "attempts"}, {"device", "device"},
      {"program", "program"}};
  return all;
}

/// A JSON value as a cell shows it; nothing for null.
std::string cell_text(const nlohmann::json& stage, const std::string& name) {
  const auto found = stage.find(name);
  if (found == stage.end() || found->is_null()) return "";
  if (name == "seconds" && found->is_number()) return duration_text(found->get<double>());
  if (found->is_string()) return found->get<std::string>();
  if (found->is_number_float()) return number_text(found->get<double>());
  return found->dump();
}

}  // namespace

std::string stage_section(const Page& page) {
  std::vector<std::pair<const RunReport*, const nlohmann::json*>> stages;
  for (const RunReport& run : page.data.runs)
    for (const nlohmann::json& stage : run.stages) stages.emplace_back(&run, &stage);
  if (stages.empty()) return "";
  std::vector<std::string> header{"stage"}, columns;
  for (const auto& [field, title] : known_fields()) {
    if (std::ranges::all_of(stages, [&](const auto& stage) { return cell_text(*stage.second, field).empty(); }))
      continue;
    columns.push_back(field);
    header.push_back(title);
  }
  Table table("rows", "Time of each stage over all attempts, and how fast it worked");
  table.header(header);
  double seconds = 0;
  for (const auto& [run, stage] : stages) {
    std::vector<Cell> cells;
    for (const std::string& name : columns) cells.push_back({escaped(cell_text(*stage, name))});
    table.row(page.name(*run, cell_text(*stage, "stage")), cells);
    if (stage->contains("seconds") && stage->at("seconds").is_number()) seconds += stage->at("seconds").get<double>();
  }
  return table.html() +
         (seconds > 0 ? paragraph("In all " + duration_text(seconds) + " of wall time, over all attempts.") : "");
}

}  // namespace couplet
