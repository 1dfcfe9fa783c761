#include "method/statistics/scalar_statistics.h"

#include "method/statistics/normality.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

namespace couplet {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::int64_t rows_at_once = 1 << 16;
constexpr std::int64_t kept_rows = 1 << 20;
constexpr std::size_t bins = 20;
constexpr std::array quantile_levels{0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99};

/// Calls `use(row, value)` for every row.
template <class Use>
void for_each_value(const ScalarColumn& column, Use use) {
  std::vector<float> values;
  for (std::int64_t first = 0; first < column.rows; first += rows_at_once) {
    values.resize(static_cast<std::size_t>(std::min(rows_at_once, column.rows - first)));
    column.read(first, static_cast<std::int64_t>(values.size()), values);
    std::int64_t row = first;
    for (const float value : values) use(row++, static_cast<double>(value));
  }
}

struct Range {
  std::int64_t count = 0, nonfinite = 0, not_measured = 0;
  double sum = 0, minimum = std::numeric_limits<double>::infinity(), maximum = -minimum;
};

bool counts(double value, double least) {
  return std::isfinite(value) && value >= least;
}

Range find_range(const ScalarColumn& column, double least) {
  Range range;
  for_each_value(column, [&](std::int64_t, double value) {
    if (!std::isfinite(value)) {
      ++range.nonfinite;
    } else if (value < least) {
      ++range.not_measured;
    } else {
      ++range.count;
      range.sum += value;
      range.minimum = std::min(range.minimum, value);
      range.maximum = std::max(range.maximum, value);
    }
  });
  return range;
}

std::array<double, bins + 1> bin_edges(const Range& range) {
  std::array<double, bins + 1> edges{};
  // Equal values lie in the middle of a range of width 1.
  const bool flat = range.minimum == range.maximum;
  const double low = flat ? range.minimum - 0.5 : range.minimum, high = flat ? range.maximum + 0.5 : range.maximum;
  for (std::size_t i = 0; i <= bins; ++i) edges[i] = low + (high - low) / bins * static_cast<double>(i);
  edges[bins] = high;
  return edges;
}

/// The value at `level` of sorted values, between neighbours on a line.
double quantile(const std::vector<float>& sorted, double level) {
  const double place = level * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const auto above = std::min(below + 1, sorted.size() - 1);
  return std::lerp(static_cast<double>(sorted[below]), static_cast<double>(sorted[above]),
                   place - static_cast<double>(below));
}

}  // namespace

Json describe_scalars(const ScalarColumn& column, double least) {
  const Range range = find_range(column, least);
  Json json{{"rows", range.count}, {"not_measured", range.not_measured}, {"nonfinite", range.nonfinite}};
  if (range.count == 0) return json;
  const auto edges = bin_edges(range);
  std::array<std::int64_t, bins> histogram{};
  const RowSample sample(column.rows, kept_rows);
  std::int64_t next = 0;
  std::vector<float> kept;
  for_each_value(column, [&](std::int64_t row, double value) {
    const bool chosen = next < sample.size() && sample.at(next) == row;
    if (chosen) ++next;
    if (!counts(value, least)) return;
    if (chosen) kept.push_back(static_cast<float>(value));
    const auto above = std::upper_bound(edges.begin(), edges.end(), value) - edges.begin();
    ++histogram[static_cast<std::size_t>(std::clamp<std::ptrdiff_t>(above - 1, 0, bins - 1))];
  });
  json["mean"] = range.sum / static_cast<double>(range.count);
  json["minimum"] = range.minimum;
  json["maximum"] = range.maximum;
  std::ranges::sort(kept);
  json["quantile_rows"] = kept.size();
  json["quantiles"] = Json::object();
  if (!kept.empty())
    for (const double level : quantile_levels) json["quantiles"][fmt::format("{}", level)] = quantile(kept, level);
  json["histogram"] = {{"edges", edges}, {"counts", histogram}};
  return json;
}

}  // namespace couplet
