#include "stages/report/html/plot.h"
#include "stages/report/sections/findings.h"
#include "stages/report/sections/sections.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

namespace couplet {

namespace {

void add_levels(Plot& plot, const Scores& scores) {
  for (const ScoreLevels& levels : scores.levels) {
    const auto add = [&](const std::optional<ScoreSummary>& score, const std::string& name, int colour) {
      if (score)
        plot.levels.push_back({levels.name(name) + ": " + score_text(*score), score->mean, colour, score->spread()});
    };
    add(levels.teacher, "teacher, as sampled", Page::colour_teacher);
    add(levels.teacher_denoised, "teacher, denoised", Page::colour_denoised);
    add(levels.real, "held-out images", Page::colour_real);
  }
}

Plot score_plot(const Page& page) {
  const Scores& scores = page.scores;
  Plot plot;
  plot.log_x = plot.log_y = true;
  for (const std::int64_t nfe : scores.columns) plot.x_ticks.push_back(static_cast<double>(nfe));
  // Curves of one student have its colour and marks of their own.
  std::vector<const ScoreCurve*> forms;
  for (const ScoreCurve& curve : scores.curves) {
    const auto same = std::ranges::find_if(forms, [&](const ScoreCurve* other) {
      return other->run == curve.run && other->student == curve.student && other->is_like(curve);
    });
    const auto form = static_cast<int>(same - forms.begin());
    if (same == forms.end()) forms.push_back(&curve);
    PlotLine line{curve.label(), {}, page.colour(curve.run, curve.student), curve.noise == "table", true, form};
    for (const auto& [nfe, score] : curve.scores)
      line.points.push_back({static_cast<double>(nfe), score.mean, score.sd, score.sampling_sd});
    plot.lines.push_back(std::move(line));
  }
  add_levels(plot, scores);
  return plot;
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

Json curve_json(const Page& page, const ScoreCurve& curve) {
  Json cells = Json::array();
  for (const std::int64_t nfe : page.scores.columns) {
    const auto found = curve.scores.find(nfe);
    const bool there = found != curve.scores.end();
    cells.push_back({{"score", there ? score_json(nfe, found->second) : Json()},
                     {"best", there && curve.noise == "fresh" && found->second.mean == best_at(page.scores, nfe)}});
  }
  return {{"name", curve.label()},
          {"run", curve.run},
          {"student", curve.student},
          {"coupling", curve.coupling},
          {"noise", curve.noise},
          {"guidance", curve.guidance},
          {"temperature", curve.temperature},
          {"candidates", curve.candidates},
          {"ema", curve.ema < 0 ? Json() : Json(curve.ema)},
          {"colour", page.colour(curve.run, curve.student)},
          {"cells", std::move(cells)}};
}

Json ratios_json(const Page& page, const Comparison& comparison) {
  Json cells = Json::array();
  for (const std::int64_t nfe : page.scores.columns) {
    const auto ratio = comparison.ratio.find(nfe);
    const bool there = ratio != comparison.ratio.end();
    cells.push_back(
        {{"nfe", nfe}, {"ratio", there ? figure(ratio->second, fmt::format("{:.2f}", ratio->second)) : Json()}});
  }
  return {
      {"student", comparison.curve->model()}, {"baseline", comparison.baseline->model()}, {"cells", std::move(cells)}};
}

}  // namespace

Json score_section(const Page& page) {
  const Scores& scores = page.scores;
  if (scores.records.empty()) return nullptr;
  Json curves = Json::array(), ratios = Json::array(), comparisons = Json::array();
  for (const ScoreCurve& curve : scores.curves) curves.push_back(curve_json(page, curve));
  for (const Comparison& comparison : page.comparisons) {
    ratios.push_back(ratios_json(page, comparison));
    comparisons.push_back(comparison_json(comparison));
  }
  return {
      {"nfe", scores.columns},         {"curves", std::move(curves)},         {"ratios", std::move(ratios)},
      {"spread", spread_json(scores)}, {"plot", plot_json(score_plot(page))}, {"comparisons", std::move(comparisons)},
      {"facts", facts_json(scores)}};
}

}  // namespace couplet
