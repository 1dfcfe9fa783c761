// What a set of features is compared with real images' by: the Fréchet distance and pairwise metrics, with the sizes
// that are published.
#pragma once

#include "method/metrics/frechet.h"
#include "method/scoring/described_images.h"
#include "pipeline/distributed/communicator.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace couplet {

/// One figure and what its record says besides; docs/metrics.md lists the names.
struct FeatureScore {
  std::string metric;
  double value = 0;
  std::int64_t samples = 0;
  nlohmann::json details = nlohmann::json::object();
};

/// Real images' features in memory, and what is computed of them once for all sets that are compared with them row by
/// row.
class RealFeatures {
public:
  /// `features`: [rows, dimension]; `held_out`: of other images of the same kind, which memorisation is told from, or
  /// undefined. Equal on every rank; collective. Refuses fewer than `fewest` rows.
  RealFeatures(at::Tensor features, const at::Tensor& held_out, Communicator& communicator);

  static constexpr std::int64_t fewest = 6;  ///< rows of either set

  std::int64_t rows() const { return features_.size(0); }
  /// Adds "kernel_distance", "precision", "recall", "density", "coverage" and, where there are held-out images,
  /// "nearest_training_ratio" of `generated`, [rows, dimension]; none of fewer than `fewest` rows. Collective.
  void compare(const at::Tensor& generated, std::vector<FeatureScore>& scores, Communicator& communicator) const;
  /// The row nearest to each of `generated`: int64 [rows]. Collective.
  at::Tensor nearest(const at::Tensor& generated, Communicator& communicator) const;

private:
  void compare_kernels(const at::Tensor& generated, std::vector<FeatureScore>& scores,
                       Communicator& communicator) const;
  void compare_balls(const at::Tensor& generated, std::vector<FeatureScore>& scores, Communicator& communicator) const;
  double median_distance(const at::Tensor& generated, Communicator& communicator) const;

  at::Tensor features_, radii_;
  double kernel_sum_ = 0;
  std::int64_t held_out_ = 0;     ///< images
  double held_out_distance_ = 0;  ///< median distance from these to the nearest row
};

/// What samples are compared with; equal on every rank.
struct FeatureReference {
  Moments moments;
  std::optional<Moments> spatial = {};            ///< of spatial features (sFID)
  std::optional<Moments> held_out = {};           ///< of held-out images, compared with besides
  std::shared_ptr<const RealFeatures> real = {};  ///< none: statistics alone are compared
};

/// "frechet_distance" first, then the others: "held_out_frechet_distance" where there are such moments,
/// "spatial_frechet_distance" and "inception_score" where the network gives what they need, and those of RealFeatures,
/// of the images whose features are kept. Collective; the same digits on any number of ranks. Refuses fewer images than
/// features + 1, and sets of different networks.
std::vector<FeatureScore> compare_features(const DescribedImages& generated, const FeatureReference& reference,
                                           Communicator& communicator);

}  // namespace couplet
