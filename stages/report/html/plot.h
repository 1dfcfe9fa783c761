// Line plots as inline SVG.
#pragma once

#include "stages/report/html/template.h"

#include <optional>
#include <string>
#include <vector>

namespace couplet {

struct PlotPoint {
  double x = 0, y = 0;
  double error = 0;   ///< half length of the error bar, thin and with ends; 0: none
  double spread = 0;  ///< half length of a second one, broad and pale; 0: none
};

struct PlotLine {
  std::string name;
  std::vector<PlotPoint> points;  ///< ascending in x
  int colour = 0;                 ///< class c0 ... c7 of the style sheet
  bool dashed = false;
  bool markers = true;
  int form = 0;  ///< of the markers: circle, square, triangle, diamond, and each of them hollow
};

/// A horizontal line across the plot: something that does not depend on x. One that is far from all points is not drawn
/// but told of in the legend.
struct PlotLevel {
  std::string name;  ///< as the legend has it, with its figure
  double y = 0;
  int colour = 0;
  double error = 0;  ///< half width of a pale band around it; 0: none
};

/// What is drawn. What it is called, and what its axes are, stands in the template that shows it.
struct Plot {
  bool log_x = false, log_y = false;
  bool falling_x = false;       ///< the largest x on the left
  std::vector<double> x_ticks;  ///< empty: chosen here
  std::vector<PlotLine> lines;
  std::vector<PlotLevel> levels;
};

/// The parts of an <svg> element. Its colours are classes of the page's style sheet, so that it follows light, dark and
/// print.
struct Drawing {
  std::string view_box;
  std::string x_label, y_label;  ///< `transform` of a <text> with the axis's label, whose anchor is its middle
  std::string svg;               ///< axes, levels, lines, legend
};

/// Points that a logarithmic axis cannot show, and such that are not finite, are left out; nothing of a plot without
/// points.
std::optional<Drawing> draw(const Plot& plot);

/// The plot's figures, and its parts as `drawing`; null of one without points.
Json plot_json(const Plot& plot);

}  // namespace couplet
