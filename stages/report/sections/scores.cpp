#include "stages/report/html/markup.h"
#include "stages/report/html/plot.h"
#include "stages/report/sections/sections.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <vector>

namespace couplet {

namespace {

/// The plot in words, for its description.
std::string curves_in_words(const Scores& scores) {
  std::string text;
  for (const ScoreCurve& curve : scores.curves) {
    text += curve.label() + ":";
    for (const auto& [nfe, score] : curve.scores) text += fmt::format(" {} at NFE {},", score_text(score), nfe);
    text.back() = '.';
    text += ' ';
  }
  return text;
}

void add_levels(Plot& plot, const Scores& scores) {
  for (const ScoreLevels& levels : scores.levels) {
    const auto add = [&](const std::optional<ScoreSummary>& score, const std::string& name, int colour) {
      if (score)
        plot.levels.push_back({levels.name(name) + ": " + score_text(*score), score->mean, colour, score->spread()});
    };
    add(levels.teacher, "teacher, as sampled", Page::colour_teacher);
    add(levels.teacher_denoised, "teacher, denoised", Page::colour_denoised);
    add(levels.real, "real test images", Page::colour_real);
  }
}

std::string score_plot(const Page& page) {
  const Scores& scores = page.scores;
  Plot plot;
  plot.title = frechet_title(scores) + ", against the number of evaluations of the network";
  plot.description = curves_in_words(scores);
  plot.x_label = "NFE: network evaluations a sample";
  plot.y_label = "Fréchet distance";
  plot.log_x = plot.log_y = true;
  for (const std::int64_t nfe : scores.columns) plot.x_ticks.push_back(static_cast<double>(nfe));
  for (const ScoreCurve& curve : scores.curves) {
    PlotLine line{curve.label(),          {},   page.colour(curve.run, curve.coupling),
                  curve.noise == "table", true, page.place(curve.run, curve.coupling)};
    for (const auto& [nfe, score] : curve.scores)
      line.points.push_back({static_cast<double>(nfe), score.mean, score.sd, score.sampling_sd});
    plot.lines.push_back(std::move(line));
  }
  add_levels(plot, scores);
  const std::string svg = svg_plot(plot);
  if (svg.empty()) return "";
  return "<figure>" + svg + "<figcaption>" + escaped(frechet_title(scores)) +
         "; lower is better. Both axes are logarithmic. Every point is the best of the solvers and time grids scored "
         "at that NFE. Thin bars: standard deviation over training seeds; broad pale ones: over sampling seeds of one "
         "model, as the teacher's band.</figcaption></figure>\n";
}

/// The lowest mean in a column among curves from fresh noise; nothing where there is nobody to compare with.
std::optional<double> best_at(const Scores& scores, std::int64_t nfe) {
  std::vector<double> means;
  for (const ScoreCurve& curve : scores.curves) {
    const auto score = curve.scores.find(nfe);
    if (curve.noise == "fresh" && score != curve.scores.end()) means.push_back(score->second.mean);
  }
  if (means.size() < 2) return std::nullopt;
  return *std::ranges::min_element(means);
}

std::vector<Cell> curve_cells(const Scores& scores, const ScoreCurve& curve) {
  std::vector<Cell> cells;
  for (const std::int64_t nfe : scores.columns) {
    const auto found = curve.scores.find(nfe);
    if (found == curve.scores.end()) {
      cells.push_back({"–"});
      continue;
    }
    const bool best = curve.noise == "fresh" && found->second.mean == best_at(scores, nfe);
    cells.push_back(
        {fmt::format("{}<small>{}</small>", escaped(score_text(found->second)), escaped(setting_text(found->second))),
         best ? "best" : ""});
  }
  return cells;
}

std::string best_table(const Page& page) {
  const Scores& scores = page.scores;
  if (scores.curves.empty()) return "";
  Table table("rows", frechet_title(scores) + " by NFE; the best coupling from fresh noise is marked");
  std::vector<std::string> columns{"NFE"};
  for (const std::int64_t nfe : scores.columns) columns.push_back(std::to_string(nfe));
  table.header(columns);
  for (const ScoreCurve& curve : scores.curves) table.row(curve.label(), curve_cells(scores, curve));
  for (const Comparison& comparison : page.comparisons) {
    std::vector<Cell> cells;
    for (const std::int64_t nfe : scores.columns) {
      const auto ratio = comparison.ratio.find(nfe);
      cells.push_back({ratio == comparison.ratio.end() ? "–" : fmt::format("{:.2f}", ratio->second)});
    }
    table.row(fmt::format("ratio {} / {}", comparison.baseline->model(), comparison.curve->model()), cells);
  }
  const std::string spread = spread_text(scores);
  return table.html() + paragraph(spread.empty() ? "" : spread + ".", "soft");
}

std::string facts_table(const Page& page) {
  std::string html;
  for (const Comparison& comparison : page.comparisons) html += paragraph(comparison.crossing_text());
  Table table("facts", "What stands beside the curves");
  for (const Fact& fact : score_facts(page.scores)) table.row(fact.name, {{escaped(fact.text), "text"}});
  return table.empty() ? html : html + table.html();
}

}  // namespace

std::string score_section(const Page& page) {
  if (page.scores.records.empty()) return "";
  return best_table(page) + "<div class=\"columns\">\n<div>" + score_plot(page) + "</div>\n<div>" + facts_table(page) +
         "</div>\n</div>\n";
}

}  // namespace couplet
