#include "stages/report/data/coupling_facts.h"

#include "stages/report/html/markup.h"
#include "stages/report/html/plot.h"
#include "stages/report/sections/findings.h"
#include "stages/report/sections/page.h"
#include "stages/report/sections/sections.h"
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
  if (tables.empty()) return nullptr;
  return {{"tables", std::move(tables)}};
}

}  // namespace couplet
