// What is drawn of a plot.
#include "stages/report/html/plot.h"
#include "tests/stages/report/report_testing.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <string>

namespace couplet {
namespace {

Plot log_plot() {
  Plot plot;
  plot.log_x = plot.log_y = true;
  return plot;
}

TEST(Plot, LeavesOutWhatAnAxisCannotShow) {
  Plot plot = log_plot();
  plot.lines = {{"a", {{0, 1}, {1, -1}}}};
  EXPECT_FALSE(draw(plot));
  EXPECT_TRUE(plot_json(plot).is_null());
  plot.lines[0].points.push_back({4, 2, 3});
  const std::string svg = draw(plot).value().svg;
  expect_has(svg, {"<circle", "class=\"bar\"", "a: 2.00 at 4"});
  expect_lacks(svg, {"nan", "inf", "class=\"spread\""});
}

TEST(Plot, LabelsOfTicksDoNotLieOnEachOther) {
  Plot plot = log_plot();
  plot.lines = {{"a", {{1, 10}, {56, 20}, {62, 100}}}};
  plot.x_ticks = {1, 56, 62};
  const std::string svg = draw(plot).value().svg;
  expect_has(svg, {">1</text>", ">56</text>"});
  expect_lacks(svg, {">62</text>"});
}

TEST(Plot, TellsOfLevelsThatAreTooFarAway) {
  Plot plot = log_plot();
  plot.lines = {{"a", {{1, 10}, {2, 100}}}};
  plot.levels = {{"near: 5", 5, 0, 0.25}, {"far: 0.01", 0.01}};
  const std::string svg = draw(plot).value().svg;
  expect_has(svg, {"near: 5</text>", "far: 0.01 (outside)</text>", "class=\"band\""});
  // Each has an entry in the legend, the near one a line across the plot besides.
  std::size_t lines = 0;
  for (std::size_t at = svg.find("line level"); at != std::string::npos; at = svg.find("line level", at + 1)) ++lines;
  EXPECT_EQ(lines, 3U);
}

TEST(Plot, FallingAxisHasTheLargestValueOnTheLeft) {
  Plot plot;
  plot.lines = {{"a", {{0, 1}, {1, 2}}}};
  const auto first_x = [&] {
    const std::string svg = draw(plot).value().svg;
    return std::stod(svg.substr(svg.find("class=\"line\" d=\"M") + 17));
  };
  const double rising = first_x();
  plot.falling_x = true;
  EXPECT_GT(first_x(), rising + 200);
}

}  // namespace
}  // namespace couplet
