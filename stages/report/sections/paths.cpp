#include "stages/report/html/markup.h"
#include "stages/report/html/plot.h"
#include "stages/report/sections/sections.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace couplet {

namespace {

/// Mean over seeds of the deviation along time; nothing if it was not recorded.
std::map<double, std::vector<double>> deviation_of(const Scores& scores, const ScoreCurve& curve) {
  std::map<double, std::vector<double>> by_time;
  for (const ScoreRecord& record : scores.records) {
    if (record.metric != "curvature" || record.run != curve.run || record.coupling != curve.coupling) continue;
    if (record.noise != curve.noise) continue;
    for (std::size_t i = 0; i < std::min(record.times.size(), record.deviation.size()); ++i)
      by_time[record.times[i]].push_back(record.deviation[i]);
  }
  return by_time;
}

std::string curvature_plot(const Page& page) {
  Plot plot;
  plot.title = "Curvature along time: deviation of the velocity from the straight way";
  plot.x_label = "time: 1 noise, 0 image";
  plot.y_label = "squared deviation";
  plot.falling_x = true;
  plot.log_y = true;
  for (const ScoreCurve& curve : page.scores.curves) {
    PlotLine line{curve.label(), {}, page.colour(curve.run, curve.coupling), curve.noise == "table", false};
    for (const auto& [time, values] : deviation_of(page.scores, curve)) {
      double mean = 0;
      for (const double value : values) mean += value / static_cast<double>(values.size());
      line.points.push_back({time, mean});
    }
    if (line.points.empty()) continue;
    const auto summary = page.scores.of_curve(curve, "curvature");
    if (summary) plot.description += fmt::format("{}: {} over the whole path. ", curve.label(), score_text(*summary));
    plot.lines.push_back(std::move(line));
  }
  const std::string svg = svg_plot(plot);
  if (svg.empty()) return "";
  return "<figure>" + svg +
         "<figcaption>Mean of (v(x_t, t) - (x_1 - x_0))² over samples and values, along paths from noise (left) to "
         "image "
         "(right), on a logarithmic axis. Its integral is the curvature κ; on a straight path, which one step follows "
         "exactly, it is 0.</figcaption></figure>\n";
}

std::string trajectories(const Page& page) {
  std::string figures;
  for (const auto& [run, picture] : pictures_of(page, PictureKind::trajectory)) {
    const std::string title = page.name(*run, picture->title);
    figures += picture_figure(picture->path, "Paths of " + title, title);
  }
  return figures.empty() ? "" : "<div class=\"trajectories\">" + figures + "</div>\n";
}

}  // namespace

std::string path_section(const Page& page) {
  return trajectories(page) + curvature_plot(page);
}

}  // namespace couplet
