#include "stages/report/html/plot.h"
#include "stages/report/sections/findings.h"
#include "stages/report/sections/sections.h"

#include <algorithm>
#include <map>
#include <utility>

namespace couplet {

namespace {

/// By time, the deviations of each seed; nothing if they were not recorded.
std::map<double, std::vector<double>> deviation_of(const Scores& scores, const ScoreCurve& curve) {
  std::map<double, std::vector<double>> by_time;
  for (const ScoreRecord& record : scores.records) {
    if (record.metric != "curvature" || !curve.is_of(record) || record.noise != curve.noise) continue;
    for (std::size_t i = 0; i < std::min(record.times.size(), record.deviation.size()); ++i)
      by_time[record.times[i]].push_back(record.deviation[i]);
  }
  return by_time;
}

/// Means over seeds of the deviation along time.
Plot curvature_plot(const Page& page) {
  Plot plot;
  plot.falling_x = true;
  plot.log_y = true;
  for (const ScoreCurve& curve : page.scores.curves) {
    PlotLine line{curve.label(), {}, page.colour(curve.run, curve.student), curve.noise == "table", false};
    for (const auto& [time, values] : deviation_of(page.scores, curve)) {
      double mean = 0;
      for (const double value : values) mean += value / static_cast<double>(values.size());
      line.points.push_back({time, mean});
    }
    if (!line.points.empty()) plot.lines.push_back(std::move(line));
  }
  return plot;
}

/// Gathers the curvatures over the whole path, of the curves that have one.
Json curvatures(const Scores& scores) {
  Json all = Json::array();
  for (const ScoreCurve& curve : scores.curves) {
    const auto summary = scores.of_curve(curve, "curvature");
    if (summary) all.push_back({{"name", curve.label()}, {"score", figure(*summary)}});
  }
  return all;
}

}  // namespace

Json path_section(const Page& page) {
  Json section{{"trajectories", pictures_json(page, PictureKind::trajectory)},
               {"curvatures", curvatures(page.scores)},
               {"plot", plot_json(curvature_plot(page))}};
  return section["trajectories"].empty() && section["plot"].is_null() ? Json() : section;
}

}  // namespace couplet
