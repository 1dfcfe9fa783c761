#include "stages/report/data/loss_curve.h"

#include "stages/report/html/markup.h"
#include "stages/report/html/plot.h"
#include "stages/report/sections/sections.h"
#include "storage/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <vector>

namespace couplet {

namespace {

struct NamedCurve {
  const RunReport* run;
  const LossCurve* curve;
};

/// "student" of "student/nf-0".
std::string kind_of(const LossCurve& curve) {
  return curve.stage.substr(0, curve.stage.find('/'));
}

int colour_of(const Page& page, const NamedCurve& named) {
  const std::string& stage = named.curve->stage;
  const std::size_t slash = stage.find('/'), dash = stage.rfind('-');
  if (slash != std::string::npos && dash != std::string::npos && dash > slash)
    return page.colour(named.run->name, stage.substr(slash + 1, dash - slash - 1));
  // Of what has no coupling, each run has a colour of its own.
  return page.several() ? static_cast<int>(named.run - page.data.runs.data()) % Page::line_colours
                        : Page::colour_teacher;
}

PlotLine line_of(const std::string& name, const Points& points, int colour) {
  PlotLine line{name, {}, colour, false, false};
  for (const auto& [images, loss] : points) line.points.push_back({images, loss});
  return line;
}

/// Training losses solid, held-out ones dashed with markers.
void add_curve(Plot& plot, const Page& page, const NamedCurve& named, std::set<int>& used) {
  const std::string name = page.name(*named.run, named.curve->stage);
  const int colour = colour_of(page, named);
  PlotLine line = line_of(name, without_start(thinned(named.curve->points)), colour);
  if (line.points.empty()) return;
  plot.description +=
      fmt::format("{}: from {} to {}. ", name, number_text(line.points.front().y), number_text(line.points.back().y));
  line.dashed = !used.insert(colour).second;
  plot.lines.push_back(std::move(line));
  PlotLine test = line_of(name + ", held-out images", thinned(named.curve->test, 40), colour);
  test.dashed = test.markers = true;
  if (!test.points.empty()) plot.lines.push_back(std::move(test));
}

}  // namespace

std::string training_section(const Page& page) {
  std::vector<std::string> kinds;
  std::map<std::string, std::vector<NamedCurve>> by_kind;
  for (const RunReport& run : page.data.runs) {
    for (const LossCurve& curve : run.curves) {
      if (by_kind[kind_of(curve)].empty()) kinds.push_back(kind_of(curve));
      by_kind[kind_of(curve)].push_back({&run, &curve});
    }
  }
  std::string plots;
  for (const std::string& kind : kinds) {
    Plot plot;
    plot.title = "Training loss of " + kind;
    plot.x_label = "training images";
    plot.y_label = "loss";
    std::set<int> used;
    for (const NamedCurve& named : by_kind[kind]) add_curve(plot, page, named, used);
    const std::string svg = svg_plot(plot);
    if (!svg.empty()) plots += "<figure><h3>" + escaped(kind) + "</h3>" + svg + "</figure>\n";
  }
  if (plots.empty()) return "";
  return paragraph("Each point is the mean over neighbouring steps; the steep fall at the start is left out.", "soft") +
         "<div class=\"columns\">" + plots + "</div>\n";
}

}  // namespace couplet
