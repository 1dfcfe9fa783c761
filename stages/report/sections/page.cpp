#include "stages/report/sections/page.h"

#include "stages/report/sections/sections.h"
#include "stages/results/metric_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace couplet {

namespace {

constexpr int format_version = 1;

Scores scores_of(const ReportData& data) {
  std::vector<RunResults> results;
  for (const RunReport& run : data.runs) results.push_back({data.runs.size() > 1 ? run.name : "", run.results});
  return read_all_scores(results);
}

/// What is made of the data for the page alone.
bool is_of_page(const std::string& field) {
  return field == "drawing" || field == "png" || field == "config_base64";
}

Json without_drawings(const Json& json) {
  if (!json.is_structured()) return json;
  Json kept = json.is_array() ? Json::array() : Json::object();
  for (const auto& [name, value] : json.items()) {
    if (json.is_array())
      kept.push_back(without_drawings(value));
    else if (!is_of_page(name))
      kept[name] = without_drawings(value);
  }
  return kept;
}

}  // namespace

Page::Page(const ReportData& report)
    : data(report), scores(scores_of(report)), comparisons(compare(scores)), verdict(find_verdict(scores)) {}

int Page::place(const std::string& run, const std::string& student) const {
  std::vector<std::pair<std::string, std::string>> seen;
  for (const ScoreCurve& curve : scores.curves) {
    const std::pair model(curve.run, curve.student);
    if (std::ranges::find(seen, model) == seen.end()) seen.push_back(model);
  }
  const auto found = std::ranges::find(seen, std::pair(several() ? run : "", student));
  return static_cast<int>(found - seen.begin());
}

std::string line_name(const Json& line) {
  return render(report_templates(), "line_name", line, Escape::none);
}

std::string table_picture(const CouplingFacts& table) {
  return fmt::format("coupling-{}-{}.png", table.name, table.held_out ? "test" : "train");
}

Json report_page(const ReportData& data) {
  const Page page(data);
  Json runs = Json::array();
  for (const RunReport& run : data.runs) runs.push_back(run.name);
  Json report{{"format", "couplet-report"},
              {"format_version", format_version},
              {"title", data.title},
              {"program", data.program},
              {"runs", std::move(runs)},
              {"several_runs", page.several()},
              {"networks", page.scores.networks},
              {"distance", metric_name(page.scores.distance).title},
              {"verdict", verdict_section(page)},
              {"has_sections", false}};
  for (auto& [name, section] : {std::pair{"scores", score_section(page)},
                                {"points", point_section(page)},
                                {"efficiency", efficiency_section(page)},
                                {"restoration", restoration_section(page)},
                                {"latents", latent_section(page)},
                                {"samples", sample_section(page)},
                                {"paths", path_section(page)},
                                {"other_metrics", other_metrics_section(page)},
                                {"likelihood", likelihood_section(page)},
                                {"coupling", coupling_section(page)},
                                {"training", training_section(page)},
                                {"stages", stage_section(page)},
                                {"provenance", provenance_section(page)},
                                {"records", record_section(page)}}) {
    if (!section.is_null()) report["has_sections"] = true;
    report[name] = section;
  }
  return report;
}

std::string report_html(const Json& page) {
  return render(report_templates(), "page", page);
}

std::string report_json(const Json& page) {
  return without_drawings(page).dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace couplet
