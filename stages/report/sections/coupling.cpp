#include "stages/report/data/coupling_facts.h"

#include "stages/report/html/markup.h"
#include "stages/report/html/plot.h"
#include "stages/report/sections/sections.h"
#include "storage/text.h"

#include <fmt/format.h>

#include <cmath>
#include <numbers>

namespace couplet {

namespace {

std::string histogram(const CouplingFacts& table, const std::string& title) {
  Plot plot;
  plot.title = "Values of z of " + title + " beside the normal distribution";
  plot.x_label = "z = f(x) / σ_f";
  plot.y_label = "density";
  PlotLine found{"z of the table", {}, 1, false, false},
      normal{"standard normal", {}, Page::colour_teacher, true, false};
  double largest = 0;
  for (const auto& [z, density] : table.noise) {
    const double expected = std::exp(-z * z / 2) / std::sqrt(2 * std::numbers::pi);
    found.points.push_back({z, density});
    normal.points.push_back({z, expected});
    largest = std::max(largest, std::abs(density - expected));
  }
  plot.description = fmt::format("The densities differ by at most {}.", number_text(largest));
  plot.lines = {found, normal};
  const std::string svg = svg_plot(plot);
  if (svg.empty()) return "";
  return "<figure>" + svg +
         "<figcaption>How the values of z lie beside N(0, 1), from which samples start.</figcaption></figure>\n";
}

std::string facts_of(const CouplingFacts& table, const std::string& title) {
  Table rows("facts", "Figures of the rows of " + title);
  for (const Fact& fact : table.facts) rows.row(fact.name, {{escaped(fact.text), "text"}});
  return rows.empty() ? "" : rows.html();
}

}  // namespace

std::string coupling_section(const Page& page) {
  std::string html;
  for (const RunReport& run : page.data.runs) {
    for (const CouplingFacts& table : run.tables) {
      const std::string title = page.name(run, table.title);
      html +=
          "<h3>" + escaped(title) + "</h3>\n<div class=\"columns\">\n<div>" + facts_of(table, title) + "</div>\n<div>";
      html += histogram(table, title) + "</div>\n</div>\n";
      if (table.picture.empty()) continue;
      const std::string caption = fmt::format(
          "The first {} rows of {}: each image beside its noise z, black -3, white 3.", table.pictured_rows, title);
      html += "<div class=\"rows-picture\">" + png_figure(table.picture, caption, caption) + "</div>\n";
    }
  }
  return html;
}

}  // namespace couplet
