// Figures over a column's values, added up as its rows are read.
#pragma once

#include "storage/tables/row_shard_layout.h"

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <span>

namespace couplet {

/// Mean, variance, range and count of values that are not finite; for whole numbers, one a row, with few different
/// values, a histogram.
class ColumnStatistics {
public:
  explicit ColumnStatistics(const Column& column);
  /// Whole rows of the column.
  void add(std::span<const std::byte> bytes);
  /// {"mean", "variance", "minimum", "maximum", "nonfinite"} and perhaps {"histogram"}; without values an empty object.
  nlohmann::ordered_json to_json() const;

private:
  void add_value(double value);
  template <class Value>
  void add_values(std::span<const std::byte> bytes);

  ElementType type_;
  bool counted_;  ///< a histogram is kept
  std::int64_t count_ = 0, nonfinite_ = 0;
  double mean_ = 0, squares_ = 0;  ///< Welford's sums: stable where the mean is far from 0
  double minimum_ = 0, maximum_ = 0;
  std::map<std::int64_t, std::int64_t> histogram_;
};

}  // namespace couplet
