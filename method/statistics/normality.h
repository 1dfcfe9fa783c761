// Are values standard normal? The Kolmogorov-Smirnov test, and the rows it is made on.
#pragma once

#include <cstdint>
#include <vector>

namespace couplet {

/// At most `most` of `rows` rows, spread over all of them: one in each of as many equal ranges, at a place in its range
/// that follows the golden ratio, so that no period in the numbering (mirror images, draws) is favoured. It is all rows
/// where there are no more. Row i: lo + floor(frac((i + 1/2) φ) (hi - lo)), lo = floor(i rows / n), hi = floor((i + 1)
/// rows / n), φ = 0.6180339887498949.
class RowSample {
public:
  RowSample(std::int64_t rows, std::int64_t most);
  std::int64_t size() const { return size_; }
  /// Ascending in i, no row twice.
  std::int64_t at(std::int64_t i) const;

private:
  std::int64_t rows_, size_;
};

struct KolmogorovSmirnov {
  std::int64_t values = 0;
  double statistic = 0;  ///< D: largest distance between the values' distribution function and the normal one
  double p_value = 1;    ///< two-sided, of independent values
};

/// Tests values / scale against N(0, 1). p is Stephens' approximation Q((√n + 0.12 + 0.11/√n) D), Q being that of
/// Kolmogorov's limit distribution. Without values the figures are NaN.
KolmogorovSmirnov test_normal(std::vector<float> values, double scale);
/// Q(x) = P(√n D > x) for n → ∞.
double kolmogorov_tail(double x);

}  // namespace couplet
