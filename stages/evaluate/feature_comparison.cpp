#include "stages/evaluate/feature_comparison.h"

#include <algorithm>

namespace couplet {

FeatureComparison compare_features(const at::Tensor& generated, const at::Tensor& real, Communicator& communicator) {
  FeatureComparison found;
  found.subsets.rows = std::min({found.subsets.rows, generated.size(0), real.size(0)});
  found.kernel = kernel_distance(generated, real, found.subsets, communicator);
  found.coverage = coverage(generated, real, found.neighbours, communicator);
  return found;
}

}  // namespace couplet
