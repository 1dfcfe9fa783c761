// Distances between all rows of two sets of features, block by block.
#pragma once

#include "pipeline/distributed/communicator.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

namespace couplet {

/// Squared Euclidean distances in float64, as ‖x‖² + ‖y‖² - 2 x·y of features less the mean of all rows. Two of them
/// that differ by no more than `slack()` are equal: it is larger than what rounding makes of equal distances.
class SquaredDistances {
public:
  /// The sets are [rows, dimension] of any floating type, equal on every rank. Sets of different dimensions and empty
  /// ones are refused.
  SquaredDistances(const at::Tensor& a, const at::Tensor& b);

  double slack() const { return slack_; }
  /// Hands `use` the distances [rows of x, n] to a few thousand rows of `set` after the other, and which the first of
  /// these is. Distances of no more than `slack()` are 0. `x` is what `of_rows` hands out.
  void each_block(const at::Tensor& x, const at::Tensor& set,
                  const std::function<void(std::int64_t first, const at::Tensor& distances)>& use) const;
  /// What `make` says of every row of `set`, in order: float64 [rows, columns]. It is handed slices of rows, and which
  /// the first of these is; the ranks take the slices in turn, with the same digits. Collective.
  at::Tensor of_rows(const at::Tensor& set, std::int64_t columns, Communicator& communicator,
                     const std::function<at::Tensor(std::int64_t first, const at::Tensor& rows)>& make) const;

private:
  at::Tensor centred(const at::Tensor& set, std::int64_t first, std::int64_t count) const;

  at::Tensor centre_;
  double slack_ = 0;
};

/// The row of a set nearest to each row of another.
struct NearestRows {
  at::Tensor rows;       ///< int64 [n]
  at::Tensor distances;  ///< float64 [n]
};

/// The row of `set` that is nearest to each row of `x`; both are [rows, dimension], equal on every rank. Collective;
/// the digits are the same on any number of ranks.
NearestRows nearest_rows(const at::Tensor& x, const at::Tensor& set, Communicator& communicator);

}  // namespace couplet
