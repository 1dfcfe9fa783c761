#include "stages/report/data/coupling_facts.h"

#include "stages/report/html/markup.h"
#include "stages/report/html/plot.h"
#include "stages/report/sections/findings.h"
#include "stages/report/sections/page.h"
#include "stages/report/sections/sections.h"
#include "stages/results/metric_names.h"
#include "stages/results/noise_gaps.h"
#include "storage/text.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

namespace couplet {

namespace {

double normal_density(double z) {
  return std::exp(-z * z / 2) / std::sqrt(2 * std::numbers::pi);
}

Plot histogram(const CouplingFacts& table) {
  Plot plot;
  PlotLine found{line_name({{"kind", "table"}}), {}, 1, false, false},
      normal{line_name({{"kind", "normal"}}), {}, Page::colour_teacher, true, false};
  for (const auto& [z, density] : table.noise) {
    found.points.push_back({z, density});
    normal.points.push_back({z, normal_density(z)});
  }
  plot.lines = {found, normal};
  return plot;
}

/// Finds how far the two densities are apart where they differ most.
double largest_difference(const CouplingFacts& table) {
  double largest = 0;
  for (const auto& [z, density] : table.noise) largest = std::max(largest, std::abs(density - normal_density(z)));
  return largest;
}

Json rows_picture(const CouplingFacts& table) {
  if (table.picture.empty()) return nullptr;
  return {{"path", table_picture(table)}, {"rows", table.pictured_rows}, {"png", base64(table.picture)}};
}

/// A figure of a coupling's quality; null where there is none.
Json quality_figure(const Json& quality, const char* place) {
  const Json::json_pointer pointer(place);
  if (!quality.contains(pointer) || !quality.at(pointer).is_number()) return nullptr;
  const double value = quality.at(pointer).get<double>();
  return figure(value, number_text(value));
}

Json cost_figure(const std::optional<double>& value, std::string (*text)(double)) {
  return value ? figure(*value, text(*value)) : Json();
}

/// A row of the table that sets couplings beside each other.
Json judged_json(const std::string& run, const JudgedCoupling& judged) {
  const Json& quality = judged.quality;
  Json row{{"run", run},
           {"coupling", judged.coupling},
           {"student", judged.student},
           {"pairs", quality.value("rows", Json())}};
  for (const auto& [name, place] : {std::pair{"transport_cost", "/transport_cost/squared"},
                                    {"transport_ratio", "/transport_cost/ratio"},
                                    {"variance", "/normality/variance"},
                                    {"excess_kurtosis", "/normality/excess_kurtosis"},
                                    {"normality", "/normality/statistic"},
                                    {"worst_class", "/normality/worst_class_statistic"},
                                    {"dependence", "/label/dependence"},
                                    {"crossing", "/crossing/share"}})
    row[name] = quality_figure(quality, place);
  row["seconds"] = cost_figure(judged.seconds, duration_text);
  row["rate"] = cost_figure(judged.rate, number_text);
  row["teacher_seconds"] = cost_figure(judged.teacher_seconds, duration_text);
  row["quality"] = quality;
  return row;
}

Json judged_rows_json(const Page& page) {
  Json rows = Json::array();
  for (const RunReport& run : page.data.runs)
    for (const JudgedCoupling& judged : run.couplings) rows.push_back(judged_json(page.run_prefix(run), judged));
  return rows;
}

/// A row of the table of their noise.
Json gap_row(const NoiseGap& gap) {
  Json row{{"run", gap.run}, {"table", gap.table}, {"held_out", gap.split == "test"}, {"rows", nullptr}};
  for (const MetricName& metric : noise_metrics()) {
    const ScoreRecord* record = gap.find(metric.metric);
    row[metric.metric] = record ? figure(*record) : Json();
    if (record) row["rows"] = record->samples;
  }
  const ScoreRecord* overfitting = gap.overfitting();
  row["overfitting"] = overfitting ? figure(*overfitting) : Json();
  return row;
}

}  // namespace

Json coupling_section(const Page& page) {
  Json tables = Json::array();
  for (const RunReport& run : page.data.runs) {
    for (const CouplingFacts& table : run.tables) {
      const double difference = largest_difference(table);
      tables.push_back({{"run", page.run_prefix(run)},
                        {"name", table.name},
                        {"held_out", table.held_out},
                        {"facts", table.facts},
                        {"difference", figure(difference, number_text(difference))},
                        {"plot", plot_json(histogram(table))},
                        {"picture", rows_picture(table)}});
    }
  }
  Json judged = judged_rows_json(page);
  Json gaps = Json::array();
  for (const NoiseGap& gap : noise_gaps(page.scores)) gaps.push_back(gap_row(gap));
  if (tables.empty() && judged.empty() && gaps.empty()) return nullptr;
  return {{"judged", std::move(judged)}, {"gaps", std::move(gaps)}, {"tables", std::move(tables)}};
}

}  // namespace couplet
