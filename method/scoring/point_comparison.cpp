#include "method/scoring/point_comparison.h"

#include "method/metrics/point_sets.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace couplet {
namespace {

constexpr std::int64_t transported = 1000;  ///< points of either set whose exact assignment takes a moment

enum Figure : std::int64_t { wasserstein, energy, log_density, outside, figures };

at::Tensor figures_of_points(const at::Tensor& samples, const PointReference& reference) {
  const at::Tensor& points = reference.points;
  const std::int64_t count = std::min({transported, samples.size(0), points.size(0)});
  at::Tensor found = at::zeros({figures}, at::kDouble);
  found[wasserstein] = wasserstein_distance(samples.narrow(0, 0, count), points.narrow(0, 0, count));
  found[energy] = energy_distance(samples, points);
  if (!reference.log_density) return found;
  const at::Tensor density = reference.log_density(samples.to(at::kDouble));
  const at::Tensor is_inside = density.isfinite();
  found[log_density] = density.masked_select(is_inside).mean();
  found[outside] = 1 - is_inside.to(at::kDouble).mean();
  return found;
}

}  // namespace

std::vector<FeatureScore> compare_points(const at::Tensor& samples, const PointReference& reference,
                                         Communicator& communicator) {
  at::Tensor found = communicator.is_root() ? figures_of_points(samples, reference) : at::zeros({figures}, at::kDouble);
  communicator.broadcast(found, 0);
  const std::int64_t points = reference.points.size(0);
  const auto value = [&](Figure figure) { return found[figure].item<double>(); };
  std::vector<FeatureScore> scores;
  const std::int64_t pairs = std::min({transported, samples.size(0), points});
  scores.push_back({"wasserstein_distance", value(wasserstein), samples.size(0), {{"points", pairs}}});
  scores.push_back({"energy_distance", value(energy), samples.size(0), {{"reference_samples", points}}});
  if (reference.log_density)
    scores.push_back({"log_density", value(log_density), samples.size(0), {{"outside", value(outside)}}});
  return scores;
}

}  // namespace couplet
