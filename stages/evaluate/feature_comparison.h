// What two sets of features are compared by besides the Fréchet distance, with the sizes that are published.
#pragma once

#include "pipeline/communicator.h"
#include "stages/evaluate/coverage.h"
#include "stages/evaluate/kernel_distance.h"

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace couplet {

struct FeatureComparison {
  KernelSubsets subsets;  ///< 100 of 1000 rows; of as many as the smaller set has, where that is fewer
  KernelDistance kernel;
  CoverageNeighbours neighbours;
  Coverage coverage;
};

/// The fewest rows of either set.
constexpr std::int64_t fewest_compared = 6;

/// Features [rows, dimension], equal on every rank. Collective; the same digits on any number of ranks.
FeatureComparison compare_features(const at::Tensor& generated, const at::Tensor& real, Communicator& communicator);

}  // namespace couplet
