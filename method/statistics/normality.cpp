#include "method/statistics/normality.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

namespace couplet {

RowSample::RowSample(std::int64_t rows, std::int64_t most) : rows_(rows), size_(std::min(rows, most)) {}

std::int64_t RowSample::at(std::int64_t i) const {
  constexpr double golden = std::numbers::phi - 1;
  // rows / n and its remainder apart: i · rows need not fit.
  const auto start = [this](std::int64_t k) { return k * (rows_ / size_) + k * (rows_ % size_) / size_; };
  const double turn = (static_cast<double>(i) + 0.5) * golden;
  const auto width = static_cast<double>(start(i + 1) - start(i));
  return start(i) + static_cast<std::int64_t>((turn - std::floor(turn)) * width);
}

double kolmogorov_tail(double x) {
  if (x <= 0) return 1;
  // Each of the two series converges in a few terms on its side.
  if (x < 1.18) {
    const double exponent = -std::numbers::pi * std::numbers::pi / (8 * x * x);
    double sum = 0;
    for (int j = 1; j <= 9; j += 2) sum += std::exp(exponent * j * j);
    return 1 - std::sqrt(2 * std::numbers::pi) / x * sum;
  }
  double sum = 0;
  for (int j = 1; j <= 10; ++j) sum += (j % 2 == 1 ? 2 : -2) * std::exp(-2.0 * j * j * x * x);
  return sum;
}

KolmogorovSmirnov test_normal(std::vector<float> values, double scale) {
  constexpr double unknown = std::numeric_limits<double>::quiet_NaN();
  if (values.empty() || !(scale > 0)) return {static_cast<std::int64_t>(values.size()), unknown, unknown};
  std::sort(values.begin(), values.end());
  const auto n = static_cast<double>(values.size());
  double largest = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double normal = 0.5 * std::erfc(-static_cast<double>(values[i]) / scale / std::numbers::sqrt2);
    const auto below = static_cast<double>(i);
    largest = std::max({largest, normal - below / n, (below + 1) / n - normal});
  }
  const double root = std::sqrt(n);
  return {static_cast<std::int64_t>(values.size()), largest, kolmogorov_tail((root + 0.12 + 0.11 / root) * largest)};
}

}  // namespace couplet
