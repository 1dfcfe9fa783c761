#include "stages/report/html/plane.h"

#include "storage/error.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

namespace couplet {
namespace {

using Point = std::vector<double>;  // x and y; of an arrow its displacement besides

constexpr double box = 200;  ///< the drawing's side

/// From the square around the origin to the drawing, whose y axis points down.
class Square {
public:
  explicit Square(double half) : half_(half) {}
  double x(double value) const { return (value / half_ + 1) * (box / 2); }
  double y(double value) const { return (1 - value / half_) * (box / 2); }
  double length(double value) const { return value / half_ * (box / 2); }

private:
  double half_;
};

/// Cells of equal shade are one path; neighbours in a row are one rectangle.
std::string draw_density(const nlohmann::json& density) {
  constexpr int shades = 12;
  const auto side = density.at("side").get<std::int64_t>();
  const auto values = density.at("values").get<std::vector<double>>();
  if (side < 1 || std::ssize(values) != side * side) fail("a density of {} values on {}² cells", values.size(), side);
  const double highest = *std::ranges::max_element(values), cell = box / static_cast<double>(side);
  if (highest <= 0) return "";
  const auto shade = [&](std::int64_t row, std::int64_t column) {
    return static_cast<int>(std::ceil(shades * values[static_cast<std::size_t>(row * side + column)] / highest - 0.2));
  };
  std::vector<std::string> paths(shades + 1);
  for (std::int64_t row = 0; row < side; ++row)
    for (std::int64_t from = 0, to = 0; from < side; from = to) {
      const int level = std::clamp(shade(row, from), 0, shades);
      while (to < side && std::clamp(shade(row, to), 0, shades) == level) ++to;
      if (level > 0)
        paths[static_cast<std::size_t>(level)] += fmt::format(
            "M{:g} {:g}h{:g}v{:g}h-{:g}z", static_cast<double>(from) * cell, box - static_cast<double>(row + 1) * cell,
            static_cast<double>(to - from) * cell, cell, static_cast<double>(to - from) * cell);
    }
  std::string svg;
  for (int level = 1; level <= shades; ++level)
    if (const std::string& path = paths[static_cast<std::size_t>(level)]; !path.empty())
      svg += fmt::format(R"(<path class="cells" fill-opacity="{:.2f}" d="{}"/>)", static_cast<double>(level) / shades,
                         path);
  return svg;
}

std::string draw_ways(const std::vector<std::vector<Point>>& paths, const Square& square) {
  std::string lines, starts;
  for (const std::vector<Point>& path : paths) {
    for (std::size_t i = 0; i < path.size(); ++i)
      lines += fmt::format("{}{:.1f} {:.1f}", i == 0 ? "M" : "L", square.x(path[i].at(0)), square.y(path[i].at(1)));
    if (!path.empty()) starts += fmt::format("M{:.1f} {:.1f}h0", square.x(path[0].at(0)), square.y(path[0].at(1)));
  }
  return fmt::format(R"(<path class="ways" d="{}"/><path class="dots soft-dots" d="{}"/>)", lines, starts);
}

/// Arrows as long as the distance between two of them where the field is the fastest, but for the fastest few.
std::string draw_arrows(const std::vector<Point>& arrows, const Square& square) {
  if (arrows.empty()) return "";
  std::vector<double> speeds;
  for (const Point& arrow : arrows) speeds.push_back(std::hypot(arrow.at(2), arrow.at(3)));
  std::ranges::sort(speeds);
  const double fastest = speeds[(speeds.size() - 1) * 19 / 20];
  const double longest = box / std::sqrt(static_cast<double>(arrows.size()));
  if (fastest <= 0) return "";
  std::string path;
  for (const Point& arrow : arrows) {
    const double speed = std::hypot(arrow[2], arrow[3]);
    if (speed <= 0) continue;
    const double length = std::min(1.0, speed / fastest) * longest, head = 0.35 * length;
    const double angle = std::atan2(-arrow[3], arrow[2]);
    const double tip_x = square.x(arrow[0]) + length * std::cos(angle),
                 tip_y = square.y(arrow[1]) + length * std::sin(angle);
    path += fmt::format("M{:.1f} {:.1f}L{:.1f} {:.1f}", square.x(arrow[0]), square.y(arrow[1]), tip_x, tip_y);
    for (const double turn : {2.6, -2.6})
      path += fmt::format("{}{:.1f} {:.1f}", turn > 0 ? "l" : fmt::format("M{:.1f} {:.1f}l", tip_x, tip_y),
                          head * std::cos(angle + turn), head * std::sin(angle + turn));
  }
  return fmt::format(R"(<path class="arrows" d="{}"/>)", path);
}

std::string draw_points(const std::vector<Point>& points, const Square& square) {
  std::string path;
  for (const Point& point : points)
    path += fmt::format("M{:.1f} {:.1f}h0", square.x(point.at(0)), square.y(point.at(1)));
  return fmt::format(R"(<path class="dots" d="{}"/>)", path);
}

}  // namespace

Json panel_json(const nlohmann::json& panel) {
  const double half = panel.at("half").get<double>();
  if (!(half > 0)) fail("a panel of half side {}", half);
  const Square square(half);
  std::string svg;
  if (panel.contains("density")) svg += draw_density(panel["density"]);
  if (panel.contains("paths")) svg += draw_ways(panel["paths"].get<std::vector<std::vector<Point>>>(), square);
  if (panel.contains("arrows")) svg += draw_arrows(panel["arrows"].get<std::vector<Point>>(), square);
  if (panel.contains("points")) svg += draw_points(panel["points"].get<std::vector<Point>>(), square);
  svg += fmt::format(R"(<rect class="frame" x="0.5" y="0.5" width="{0}" height="{0}"/>)", box - 1);
  Json json = Json::parse(panel.dump());
  for (const char* name : {"nfe", "time"})
    if (!json.contains(name)) json[name] = nullptr;
  json["drawing"] = {{"view_box", fmt::format("0 0 {0} {0}", box)}, {"svg", std::move(svg)}};
  return json;
}

}  // namespace couplet
