#include "method/statistics/central_moments.h"

#include <cmath>
#include <limits>

namespace couplet {

void CentralMoments::add(std::span<const float> values) {
  if (values.empty()) return;
  CentralMoments piece;
  piece.count_ = static_cast<std::int64_t>(values.size());
  double sum = 0;
  for (const float value : values) sum += static_cast<double>(value);
  piece.mean_ = sum / static_cast<double>(piece.count_);
  for (const float value : values) {
    const double difference = static_cast<double>(value) - piece.mean_, square = difference * difference;
    piece.second_ += square;
    piece.third_ += square * difference;
    piece.fourth_ += square * square;
  }
  add(piece);
}

void CentralMoments::add(const CentralMoments& other) {
  if (other.count_ == 0) return;
  if (count_ == 0) {
    *this = other;
    return;
  }
  const auto a = static_cast<double>(count_), b = static_cast<double>(other.count_), n = a + b;
  const double d = other.mean_ - mean_, d2 = d * d;
  const double fourth = fourth_ + other.fourth_ + d2 * d2 * a * b * (a * a - a * b + b * b) / (n * n * n) +
                        6 * d2 * (a * a * other.second_ + b * b * second_) / (n * n) +
                        4 * d * (a * other.third_ - b * third_) / n;
  const double third =
      third_ + other.third_ + d2 * d * a * b * (a - b) / (n * n) + 3 * d * (a * other.second_ - b * second_) / n;
  second_ += other.second_ + d2 * a * b / n;
  third_ = third;
  fourth_ = fourth;
  mean_ += d * b / n;
  count_ += other.count_;
}

double CentralMoments::mean() const {
  return count_ > 0 ? mean_ : std::numeric_limits<double>::quiet_NaN();
}

double CentralMoments::variance() const {
  return second_ / static_cast<double>(count_);
}

double CentralMoments::mean_square() const {
  return variance() + mean_ * mean_;
}

double CentralMoments::skewness() const {
  return third_ / static_cast<double>(count_) / std::pow(variance(), 1.5);
}

double CentralMoments::excess_kurtosis() const {
  return fourth_ / static_cast<double>(count_) / (variance() * variance()) - 3;
}

}  // namespace couplet
