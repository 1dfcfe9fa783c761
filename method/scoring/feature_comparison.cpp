#include "method/scoring/feature_comparison.h"

#include "method/metrics/coverage.h"
#include "method/metrics/distances.h"
#include "method/metrics/kernel_distance.h"
#include "storage/error.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

namespace couplet {
namespace {

constexpr CoverageNeighbours neighbours;

/// The mean of the middle two where there is an even number.
double median_of(const at::Tensor& values) {
  const at::Tensor sorted = std::get<0>(values.sort());
  const std::int64_t n = sorted.size(0);
  return (sorted[(n - 1) / 2].item<double>() + sorted[n / 2].item<double>()) / 2;
}

FeatureScore frechet_score(const std::string& metric, const Moments& generated, const Moments& real) {
  FeatureScore score{metric, frechet_distance(generated, real), generated.count};
  const std::string warning = sample_size_warning(generated.count);
  if (!warning.empty()) score.details["warning"] = warning;
  return score;
}

/// sFID; without a value where there are too few images for it, though enough for the Fréchet distance.
FeatureScore spatial_score(const Moments& generated, const Moments& real) {
  const std::string metric = "spatial_frechet_distance";
  const std::int64_t fewest = generated.dimension() + 1;
  if (generated.count >= fewest && real.count >= fewest) return frechet_score(metric, generated, real);
  FeatureScore score{metric, std::numeric_limits<double>::quiet_NaN(), generated.count};
  score.details["warning"] =
      fmt::format("none: {} spatial features need at least {} images of each set", generated.dimension(), fewest);
  return score;
}

}  // namespace

RealFeatures::RealFeatures(at::Tensor features, const at::Tensor& held_out, Communicator& communicator)
    : features_(std::move(features)),
      radii_(squared_radii(features_, neighbours, communicator)),
      kernel_sum_(kernel_sum(features_, communicator)) {
  if (!held_out.defined()) return;
  held_out_ = held_out.size(0);
  held_out_distance_ = median_distance(held_out, communicator);
}

double RealFeatures::median_distance(const at::Tensor& generated, Communicator& communicator) const {
  return median_of(nearest_rows(generated, features_, communicator).distances);
}

void RealFeatures::compare_kernels(const at::Tensor& generated, std::vector<FeatureScore>& scores,
                                   Communicator& communicator) const {
  KernelSubsets subsets;
  subsets.rows = std::min({subsets.rows, generated.size(0), rows()});
  const KernelDistance found = kernel_distance(generated, features_, subsets, communicator);
  scores.push_back({"kernel_distance",
                    full_kernel_distance(generated, features_, kernel_sum_, communicator),
                    generated.size(0),
                    {{"reference_samples", rows()},
                     {"subset_mean", found.mean},
                     {"subset_sd", found.deviation},
                     {"subsets", subsets.subsets},
                     {"subset_size", subsets.rows}}});
}

void RealFeatures::compare_balls(const at::Tensor& generated, std::vector<FeatureScore>& scores,
                                 Communicator& communicator) const {
  const Coverage found = coverage(generated, features_, radii_, neighbours, communicator);
  const auto keep = [&](const char* metric, double value, std::int64_t neighbour) {
    scores.push_back({metric, value, generated.size(0), {{"reference_samples", rows()}, {"neighbours", neighbour}}});
  };
  keep("precision", found.precision, neighbours.of_precision);
  keep("recall", found.recall, neighbours.of_precision);
  keep("density", found.density, neighbours.of_density);
  keep("coverage", found.coverage, neighbours.of_density);
}

void RealFeatures::compare(const at::Tensor& generated, std::vector<FeatureScore>& scores,
                           Communicator& communicator) const {
  if (generated.size(0) < fewest) return;
  compare_kernels(generated, scores, communicator);
  compare_balls(generated, scores, communicator);
  if (held_out_ == 0) return;
  scores.push_back({"nearest_training_ratio",
                    median_distance(generated, communicator) / held_out_distance_,
                    generated.size(0),
                    {{"reference_samples", rows()}, {"held_out_samples", held_out_}}});
}

at::Tensor RealFeatures::nearest(const at::Tensor& generated, Communicator& communicator) const {
  return nearest_rows(generated, features_, communicator).rows;
}

std::vector<FeatureScore> compare_features(const DescribedImages& generated, const FeatureReference& reference,
                                           Communicator& communicator) {
  std::vector<FeatureScore> scores{frechet_score("frechet_distance", generated.moments(), reference.moments)};
  if (reference.held_out)
    scores.push_back(frechet_score("held_out_frechet_distance", generated.moments(), *reference.held_out));
  const std::int64_t samples = generated.moments().count;
  if (generated.spatial() && reference.spatial)
    scores.push_back(spatial_score(*generated.spatial(), *reference.spatial));
  if (const auto& inception = generated.inception())
    scores.push_back({"inception_score",
                      inception->mean(),
                      samples,
                      {{"split_sd", inception->deviation()}, {"splits", inception->splits()}}});
  if (reference.real) reference.real->compare(generated.features(), scores, communicator);
  return scores;
}

}  // namespace couplet
