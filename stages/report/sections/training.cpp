#include "stages/report/data/loss_curve.h"

#include "stages/report/html/plot.h"
#include "stages/report/sections/findings.h"
#include "stages/report/sections/sections.h"
#include "storage/text.h"

#include <map>
#include <set>
#include <utility>
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
  // What is no student has a colour of its own in each run.
  return page.several() ? static_cast<int>(named.run - page.data.runs.data()) % Page::line_colours
                        : Page::colour_teacher;
}

PlotLine line_of(const std::string& name, const Points& points, int colour) {
  PlotLine line{name, {}, colour, false, false};
  for (const auto& [images, loss] : points) line.points.push_back({images, loss});
  return line;
}

/// Losses of the stages of one kind: of training solid, of held-out images dashed with markers.
struct Losses {
  Plot plot;
  Json stages = Json::array();  ///< name, and the first and the last loss that is shown
  std::set<int> used = {};      ///< colours

  void add(const Page& page, const NamedCurve& named) {
    const std::string name = page.name(*named.run, named.curve->stage);
    const int colour = colour_of(page, named);
    PlotLine line = line_of(name, without_start(thinned(named.curve->points)), colour);
    if (line.points.empty()) return;
    const double first = line.points.front().y, last = line.points.back().y;
    stages.push_back(
        {{"name", name}, {"from", figure(first, number_text(first))}, {"to", figure(last, number_text(last))}});
    line.dashed = !used.insert(colour).second;
    plot.lines.push_back(std::move(line));
    PlotLine test = line_of(line_name({{"kind", "held_out"}, {"name", name}}), thinned(named.curve->test, 40), colour);
    test.dashed = test.markers = true;
    if (!test.points.empty()) plot.lines.push_back(std::move(test));
  }
};

}  // namespace

Json training_section(const Page& page) {
  std::vector<std::string> kinds;
  std::map<std::string, Losses> by_kind;
  for (const RunReport& run : page.data.runs) {
    for (const LossCurve& curve : run.curves) {
      const std::string kind = kind_of(curve);
      if (!by_kind.contains(kind)) kinds.push_back(kind);
      by_kind[kind].add(page, {&run, &curve});
    }
  }
  Json plots = Json::array();
  for (const std::string& kind : kinds) {
    Json plot = plot_json(by_kind[kind].plot);
    if (!plot.is_null())
      plots.push_back({{"name", kind}, {"stages", std::move(by_kind[kind].stages)}, {"plot", std::move(plot)}});
  }
  if (plots.empty()) return nullptr;
  return {{"kinds", std::move(plots)}};
}

}  // namespace couplet
