// How much of the real images' features a generated set's cover, and the other way round, by balls around each row that
// reach to its nearest neighbours.
#pragma once

#include "pipeline/distributed/communicator.h"

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace couplet {

/// Which neighbour of its own set, itself not counted, a row's ball reaches to.
struct CoverageNeighbours {
  std::int64_t of_precision = 3;  ///< precision and recall
  std::int64_t of_density = 5;    ///< density and coverage
};

struct Coverage {
  /// Share of generated rows within a real row's ball, and of real rows within a generated row's (Kynkäänniemi et al.
  /// 2019). A row on a ball's surface is within it, as in torch-fidelity.
  double precision = 0, recall = 0;
  /// Real balls around a generated row, mean, over the number of neighbours; and share of real rows whose ball holds a
  /// generated row (Naeem et al. 2020). A row on a ball's surface is not within it, as in prdc.
  double density = 0, coverage = 0;
};

/// Squared radii of the balls around each row of a set: float64 [rows, 2], for precision and for density. Collective;
/// ranks as below. Refuses sets of no more rows than neighbours.
at::Tensor squared_radii(const at::Tensor& set, const CoverageNeighbours& neighbours, Communicator& communicator);

/// Features [rows, dimension] of any floating type, equal on every rank. Exact neighbours, distances in float64 and in
/// blocks; the ranks take slices of rows in turn, with the same digits. `real_radii` are those of `real`, which may
/// serve several generated sets. Collective. Refuses a generated set of no more rows than neighbours.
Coverage coverage(const at::Tensor& generated, const at::Tensor& real, const at::Tensor& real_radii,
                  const CoverageNeighbours& neighbours, Communicator& communicator);

}  // namespace couplet
