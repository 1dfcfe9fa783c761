#include "stages/report/data/loss_curve.h"

#include "storage/error.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <limits>

namespace couplet {

namespace {

/// A line's number; 0 where it is not there or null.
double number(const nlohmann::json& line, const char* name) {
  const auto found = line.find(name);
  return found != line.end() && found->is_number() ? found->get<double>() : 0;
}

void add_point(Points& points, const nlohmann::json& line, const char* name, double images) {
  const auto found = line.find(name);
  if (found != line.end() && found->is_number()) points.emplace_back(images, found->get<double>());
}

}  // namespace

LossCurve read_loss_curve(const std::string& stage, const std::filesystem::path& metrics_jsonl, std::int64_t batch) {
  LossCurve curve;
  curve.stage = stage;
  std::ifstream lines(metrics_jsonl);
  if (!lines) fail("{}: cannot be read", metrics_jsonl.string());
  for (std::string text; std::getline(lines, text);) {
    const nlohmann::json line = nlohmann::json::parse(text, nullptr, false);
    if (!line.is_object() || !line.contains("step") || !line["step"].is_number()) continue;
    const double images = (number(line, "step") + 1) * static_cast<double>(batch);
    add_point(curve.points, line, "loss", images);
    add_point(curve.test, line, "test_loss", images);
    if (number(line, "seconds") <= 0) continue;
    curve.images += static_cast<double>(batch);
    curve.seconds += number(line, "seconds");
    curve.stalled += number(line, "data_stall") + number(line, "communication_stall");
  }
  return curve;
}

Points thinned(const Points& points, std::size_t most) {
  Points finite, out;
  std::copy_if(points.begin(), points.end(), std::back_inserter(finite),
               [](const auto& point) { return std::isfinite(point.first) && std::isfinite(point.second); });
  if (most == 0 || finite.size() <= most) return finite;
  for (std::size_t bin = 0; bin < most; ++bin) {
    const std::size_t first = bin * finite.size() / most, last = (bin + 1) * finite.size() / most;
    std::pair<double, double> mean{0, 0};
    for (std::size_t i = first; i < last; ++i) {
      mean.first += finite[i].first / static_cast<double>(last - first);
      mean.second += finite[i].second / static_cast<double>(last - first);
    }
    out.push_back(mean);
  }
  return out;
}

Points without_start(const Points& points, double settled) {
  const auto skip = static_cast<std::ptrdiff_t>(settled * static_cast<double>(points.size()));
  double highest = -std::numeric_limits<double>::infinity();
  for (auto point = points.begin() + skip; point != points.end(); ++point) highest = std::max(highest, point->second);
  const auto first =
      std::find_if(points.begin(), points.begin() + skip, [&](const auto& point) { return point.second <= highest; });
  return {first, points.end()};
}

}  // namespace couplet
