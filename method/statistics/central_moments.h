// Mean and central moments to the fourth, of values that come in pieces.
#pragma once

#include <cstdint>
#include <span>

namespace couplet {

/// Exact in double however far the mean is from 0: each piece's moments about its own mean, pieces joined by the
/// formulas of Pébay (Sandia report SAND2008-6212). All figures are of the population (divided by n); NaN without
/// values.
class CentralMoments {
public:
  void add(std::span<const float> values);
  void add(const CentralMoments& other);

  std::int64_t count() const { return count_; }
  double mean() const;
  double variance() const;
  double mean_square() const;
  double skewness() const;
  double excess_kurtosis() const;  ///< 0 for a normal distribution

private:
  std::int64_t count_ = 0;
  double mean_ = 0, second_ = 0, third_ = 0, fourth_ = 0;  ///< sums of powers of (value - mean), the mean apart
};

}  // namespace couplet
