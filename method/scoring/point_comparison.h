// What samples that are points are compared with: points of the data set, and the density that these are known to have.
#pragma once

#include "method/scoring/feature_comparison.h"
#include "pipeline/distributed/communicator.h"

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

namespace couplet {

struct PointReference {
  at::Tensor points;  ///< float32 [n, values]
  /// log p of points, float64 [n]; -∞ where there are none. None: it is not known.
  std::function<at::Tensor(const at::Tensor& points)> log_density = {};
};

/// "wasserstein_distance" first, between the first points of either set, then "energy_distance" between all and, where
/// the density is known, "log_density", its mean over the samples that lie where it is not 0 (`outside`: the share of
/// the others). The digits do not depend on the number of ranks. Collective.
std::vector<FeatureScore> compare_points(const at::Tensor& samples, const PointReference& reference,
                                         Communicator& communicator);

}  // namespace couplet
