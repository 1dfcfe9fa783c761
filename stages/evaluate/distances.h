// Distances between all rows of two sets of features, block by block.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

namespace couplet {

/// Squared Euclidean distances in float64, as ‖x‖² + ‖y‖² - 2 x·y of features less the mean of all rows. Two of them
/// that differ by no more than `slack()` are equal: it is larger than what rounding makes of equal distances.
class SquaredDistances {
public:
  /// Of sets [rows, dimension] of any floating type. Refuses sets of different dimensions and empty ones.
  SquaredDistances(const at::Tensor& a, const at::Tensor& b);

  double slack() const { return slack_; }
  /// Rows of a set, ready for `each_block`: float64.
  at::Tensor rows(const at::Tensor& set, std::int64_t first, std::int64_t count) const;
  /// Hands `use` the distances [rows of x, n] to a few thousand rows of `set` after the other, and which the first of
  /// these is. Distances of no more than `slack()` are 0.
  void each_block(const at::Tensor& x, const at::Tensor& set,
                  const std::function<void(std::int64_t first, const at::Tensor& distances)>& use) const;

private:
  at::Tensor centre_;
  double slack_ = 0;
};

}  // namespace couplet
