// Line plots as inline SVG.
#pragma once

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

struct Plot {
  std::string title;        ///< the SVG's accessible name
  std::string description;  ///< what the plot shows, in words and figures, for those who do not see it
  std::string x_label, y_label;
  bool log_x = false, log_y = false;
  bool falling_x = false;       ///< the largest x on the left
  std::vector<double> x_ticks;  ///< empty: chosen here
  std::vector<PlotLine> lines;
  std::vector<PlotLevel> levels;
};

/// An <svg> element that takes its colours from the page's style (report_style), so that it follows light, dark and
/// print. Points that a logarithmic axis cannot show, and such that are not finite, are left out. A plot without points
/// is an empty string.
std::string svg_plot(const Plot& plot);

}  // namespace couplet
