#include "stages/report/html/plot.h"

#include "stages/report/html/markup.h"
#include "storage/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace couplet {

namespace {

// Units of the viewBox. Small, so that text stays legible where the plot is as wide as a phone.
constexpr double width = 440, height = 340, left = 54, right = 12, top = 12, bottom = 44;
constexpr double legend_row = 18;
constexpr double farthest_level = 0.5;  // from the points, of the length of their axis

/// Maps values to positions along one axis, over logarithms where asked.
class Axis {
public:
  Axis(bool logarithmic, double from, double to) : logarithmic_(logarithmic), from_(from), to_(to) {}

  void include(double value) {
    if (!shows(value)) return;
    low_ = std::min(low_, value);
    high_ = std::max(high_, value);
  }
  bool shows(double value) const { return std::isfinite(value) && (!logarithmic_ || value > 0); }
  bool empty() const { return low_ > high_; }
  /// Between the outermost values, in units of the scale.
  double length() const { return scale(high_) - scale(low_); }
  /// From a value outside to the nearest of them; 0 inside.
  double distance(double value) const {
    return std::max({0.0, scale(low_) - scale(value), scale(value) - scale(high_)});
  }
  /// Room at both ends, so that no mark sits on the frame.
  void widen(double share) {
    double a = scale(low_), b = scale(high_);
    if (a == b) {
      const double unit = logarithmic_ ? 0.3 : std::max(std::abs(a) * 0.1, 1e-9);
      a -= unit;
      b += unit;
    }
    const double room = (b - a) * share;
    low_ = unscale(a - room);
    high_ = unscale(b + room);
  }
  double place(double value) const {
    const double a = scale(low_), b = scale(high_);
    return from_ + (to_ - from_) * (scale(std::clamp(value, low_, high_)) - a) / (b - a);
  }
  std::vector<double> ticks() const { return logarithmic_ ? log_ticks() : linear_ticks(); }
  bool inside(double value) const { return value >= low_ && value <= high_; }

private:
  double scale(double value) const { return logarithmic_ ? std::log10(value) : value; }
  double unscale(double value) const { return logarithmic_ ? std::pow(10, value) : value; }

  std::vector<double> log_ticks() const {
    std::vector<double> ticks;
    const bool few = std::log10(high_ / low_) < 2.5;
    for (int power = static_cast<int>(std::floor(std::log10(low_))); std::pow(10, power) <= high_; ++power) {
      for (const double digit : few ? std::vector<double>{1, 2, 5} : std::vector<double>{1}) {
        const double tick = digit * std::pow(10, power);
        if (inside(tick)) ticks.push_back(tick);
      }
    }
    return ticks;
  }
  std::vector<double> linear_ticks() const {
    const double rough = (high_ - low_) / 6, unit = std::pow(10, std::floor(std::log10(rough)));
    double step = 10 * unit;
    for (const double factor : {5.0, 2.0, 1.0}) {
      if (factor * unit >= rough) step = factor * unit;
    }
    std::vector<double> ticks;
    for (double tick = std::ceil(low_ / step) * step; tick <= high_; tick += step) {
      ticks.push_back(std::abs(tick) < step * 1e-9 ? 0 : tick);
    }
    return ticks;
  }

  bool logarithmic_;
  double from_, to_;
  double low_ = std::numeric_limits<double>::infinity(), high_ = -std::numeric_limits<double>::infinity();
};

/// "120k", "2M" on an axis; three digits otherwise, without zeros at the end.
std::string tick_text(double value) {
  for (const auto& [unit, suffix] : {std::pair{1e9, "G"}, {1e6, "M"}, {1e3, "k"}}) {
    if (std::abs(value) >= unit) return fmt::format("{:.3g}{}", value / unit, suffix);
  }
  return fmt::format("{:.3g}", value);
}

std::string marker(double x, double y, int form) {
  const std::string style = form / 4 % 2 == 1 ? "mark hollow" : "mark";
  switch (form % 4) {
    case 0:
      return fmt::format(R"(<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="3.6"/>)", style, x, y);
    case 1:
      return fmt::format(R"(<rect class="{}" x="{:.1f}" y="{:.1f}" width="6.6" height="6.6"/>)", style, x - 3.3,
                         y - 3.3);
    case 2:
      return fmt::format(R"(<path class="{}" d="M{:.1f} {:.1f}l4.4 7.6h-8.8z"/>)", style, x, y - 4.8);
    default:
      return fmt::format(R"(<path class="{}" d="M{:.1f} {:.1f}l4.6 4.6 -4.6 4.6 -4.6 -4.6z"/>)", style, x, y - 4.6);
  }
}

std::string line_class(int colour, bool dashed) {
  return fmt::format("c{}{}", colour % 8, dashed ? " dashed" : "");
}

std::string grid_lines(const Plot& plot, const Axis& x, const Axis& y) {
  std::string svg = R"(<g class="axes">)";
  double next_label = 0;  // none begins left of it, so that none lies on another
  for (const double tick : plot.x_ticks.empty() ? x.ticks() : plot.x_ticks) {
    if (!x.inside(tick)) continue;
    const double at = x.place(tick), half = 4.0 * static_cast<double>(tick_text(tick).size());
    svg += fmt::format(R"(<path d="M{:.1f} {}V{}"/>)", at, top, height - bottom);
    if (!plot.falling_x && at - half < next_label) continue;
    next_label = at + half;
    svg += fmt::format(R"(<text x="{:.1f}" y="{}" text-anchor="middle">{}</text>)", at, height - bottom + 16,
                       tick_text(tick));
  }
  for (const double tick : y.ticks()) {
    svg += fmt::format(R"(<path d="M{1} {0:.1f}H{2}"/><text x="{3}" y="{4:.1f}" text-anchor="end">{5}</text>)",
                       y.place(tick), left, width - right, left - 6, y.place(tick) + 4, tick_text(tick));
  }
  return svg + "</g>";
}

/// Half lengths around a point, thin with ends and broad.
std::string error_bars(const PlotPoint& point, const Axis& x, const Axis& y) {
  const double px = x.place(point.x);
  const auto low = [&](double half) { return y.shows(point.y - half) ? y.place(point.y - half) : height - bottom; };
  std::string svg;
  if (point.spread > 0)
    svg += fmt::format(R"(<path class="spread" d="M{:.1f} {:.1f}V{:.1f}"/>)", px, low(point.spread),
                       y.place(point.y + point.spread));
  if (point.error > 0)
    svg += fmt::format(R"(<path class="bar" d="M{0:.1f} {1:.1f}V{2:.1f}M{3:.1f} {1:.1f}h8M{3:.1f} {2:.1f}h8"/>)", px,
                       low(point.error), y.place(point.y + point.error), px - 4);
  return svg;
}

std::string draw_line(const PlotLine& line, const Axis& x, const Axis& y) {
  std::string path, marks;
  for (const PlotPoint& point : line.points) {
    if (!x.shows(point.x) || !y.shows(point.y)) continue;
    const double px = x.place(point.x), py = y.place(point.y);
    path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : "L", px, py);
    marks += error_bars(point, x, y);
    if (line.markers) {
      marks += fmt::format("<g><title>{}: {} at {}</title>{}</g>", escaped(line.name), number_text(point.y),
                           tick_text(point.x), marker(px, py, line.form));
    }
  }
  return fmt::format(R"(<g class="{}"><path class="line" d="{}"/>{}</g>)", line_class(line.colour, line.dashed), path,
                     marks);
}

std::string draw_level(const PlotLevel& level, const Axis& y) {
  if (!y.shows(level.y) || !y.inside(level.y)) return "";
  std::string band;
  if (level.error > 0) {
    const double high = y.place(level.y + level.error);
    const double low = y.shows(level.y - level.error) ? y.place(level.y - level.error) : height - bottom;
    band = fmt::format(R"(<rect class="band" x="{}" y="{:.1f}" width="{}" height="{:.1f}"/>)", left, high,
                       width - right - left, low - high);
  }
  return fmt::format(R"(<g class="{}">{}<path class="line level" d="M{} {:.1f}H{}"/></g>)",
                     line_class(level.colour, false), band, left, y.place(level.y), width - right);
}

/// One entry a row below the plot: nothing to collide with the data on any screen.
std::string legend(const Plot& plot, const Axis& y_axis) {
  std::string svg = R"(<g class="legend">)";
  double y = height + 10;
  const auto entry = [&](const std::string& style, const std::string& mark, const std::string& line,
                         const std::string& name) {
    svg +=
        fmt::format(R"(<g class="{}"><path class="line {}" d="M{} {:.1f}h28"/>{}</g><text x="{}" y="{:.1f}">{}</text>)",
                    style, line, left, y, mark, left + 38, y + 4, escaped(name));
    y += legend_row;
  };
  for (const PlotLine& line : plot.lines) {
    entry(line_class(line.colour, line.dashed), line.markers ? marker(left + 14, y, line.form) : "", "", line.name);
  }
  for (const PlotLevel& level : plot.levels) {
    const bool drawn = y_axis.shows(level.y) && y_axis.inside(level.y);
    entry(line_class(level.colour, false), "", "level", level.name + (drawn ? "" : " (outside)"));
  }
  return svg + "</g>";
}

/// JSON has no infinities: a value that is not finite is null.
Json point_json(const PlotPoint& point) {
  return Json::array({point.x, point.y, point.error, point.spread});
}

}  // namespace

std::optional<Drawing> draw(const Plot& plot) {
  Axis x = plot.falling_x ? Axis(plot.log_x, width - right, left) : Axis(plot.log_x, left, width - right);
  Axis y(plot.log_y, height - bottom, top);
  for (const PlotLine& line : plot.lines) {
    for (const PlotPoint& point : line.points) {
      if (!x.shows(point.x) || !y.shows(point.y)) continue;
      x.include(point.x);
      const double half = std::max(point.error, point.spread);
      for (const double side : {-half, 0.0, half}) y.include(point.y + side);
    }
  }
  if (x.empty() || y.empty()) return std::nullopt;
  const double room = std::max(y.length(), plot.log_y ? 1.0 : 0.0);
  for (const PlotLevel& level : plot.levels) {
    if (y.shows(level.y) && y.distance(level.y) <= farthest_level * room) y.include(level.y);
  }
  x.widen(0.03);
  y.widen(0.05);
  const auto entries = static_cast<double>(plot.lines.size() + plot.levels.size());
  Drawing drawing;
  drawing.view_box = fmt::format("0 0 {} {}", width, height + 4 + legend_row * entries);
  drawing.x_label = fmt::format("translate({} {})", (left + width - right) / 2, height - 8);
  drawing.y_label = fmt::format("translate(12 {}) rotate(-90)", (top + height - bottom) / 2);
  drawing.svg = grid_lines(plot, x, y);
  for (const PlotLevel& level : plot.levels) drawing.svg += draw_level(level, y);
  for (const PlotLine& line : plot.lines) drawing.svg += draw_line(line, x, y);
  drawing.svg += legend(plot, y);
  return drawing;
}

Json plot_json(const Plot& plot) {
  const std::optional<Drawing> drawing = draw(plot);
  if (!drawing) return nullptr;
  Json lines = Json::array(), levels = Json::array();
  for (const PlotLine& line : plot.lines) {
    Json points = Json::array();
    for (const PlotPoint& point : line.points) points.push_back(point_json(point));
    lines.push_back({{"name", line.name}, {"colour", line.colour}, {"dashed", line.dashed}, {"points", points}});
  }
  for (const PlotLevel& level : plot.levels)
    levels.push_back({{"name", level.name}, {"colour", level.colour}, {"y", level.y}, {"error", level.error}});
  return {{"logarithmic_x", plot.log_x},
          {"logarithmic_y", plot.log_y},
          {"falling_x", plot.falling_x},
          {"lines", lines},
          {"levels", levels},
          {"drawing",
           {{"view_box", drawing->view_box},
            {"x_label", drawing->x_label},
            {"y_label", drawing->y_label},
            {"svg", drawing->svg}}}};
}

}  // namespace couplet
