// Figures over a column with one value a row: likelihoods, round-trip errors.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <span>

namespace couplet {

/// A column with one float32 a row.
struct ScalarColumn {
  std::int64_t rows = 0;
  std::function<void(std::int64_t first, std::int64_t count, std::span<float> out)> read;
};

/// {"rows", "not_measured", "nonfinite", "mean", "minimum", "maximum", "quantiles", "histogram"} of a column that is
/// read twice; values below `least` count as not measured. The histogram has 20 equal bins from minimum to maximum, the
/// last one closed. Quantiles interpolate between neighbours and are those of at most 2^20 rows (RowSample): exact
/// where there are no more, and "quantile_rows" says of how many.
nlohmann::ordered_json describe_scalars(const ScalarColumn& column,
                                        double least = -std::numeric_limits<double>::infinity());

}  // namespace couplet
