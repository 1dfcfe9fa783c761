#include "method/metrics/coverage.h"

#include "method/metrics/distances.h"
#include "storage/error.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace couplet {
namespace {

/// Says of each generated row whether it is within a real ball (1 or 0), and how many real balls it is in.
at::Tensor real_balls(const SquaredDistances& distances, const at::Tensor& generated, const at::Tensor& real,
                      const at::Tensor& radii, Communicator& communicator) {
  const at::Tensor reach = radii.select(1, 0) + distances.slack(), within = radii.select(1, 1) - distances.slack();
  return distances.of_rows(generated, 2, communicator, [&](std::int64_t, const at::Tensor& rows) {
    at::Tensor touched = at::zeros({rows.size(0)}, at::kBool), balls = at::zeros({rows.size(0)}, at::kDouble);
    distances.each_block(rows, real, [&](std::int64_t first, const at::Tensor& block) {
      touched.logical_or_(block.le(reach.narrow(0, first, block.size(1))).any(1));
      balls.add_(block.lt(within.narrow(0, first, block.size(1))).sum(1));
    });
    return at::stack({touched.to(at::kDouble), balls}, 1);
  });
}

/// Says of each real row whether it is within a generated ball, and whether its own ball holds a generated row (1 or
/// 0).
at::Tensor generated_balls(const SquaredDistances& distances, const at::Tensor& generated, const at::Tensor& real,
                           const at::Tensor& radii, const at::Tensor& real_radii, Communicator& communicator) {
  const at::Tensor reach = radii.select(1, 0) + distances.slack();
  const at::Tensor within = real_radii.select(1, 1) - distances.slack();
  return distances.of_rows(real, 2, communicator, [&](std::int64_t start, const at::Tensor& rows) {
    const at::Tensor own = within.narrow(0, start, rows.size(0)).unsqueeze(1);
    at::Tensor touched = at::zeros({rows.size(0)}, at::kBool), holds = touched.clone();
    distances.each_block(rows, generated, [&](std::int64_t first, const at::Tensor& block) {
      touched.logical_or_(block.le(reach.narrow(0, first, block.size(1))).any(1));
      holds.logical_or_(block.lt(own).any(1));
    });
    return at::stack({touched, holds}, 1).to(at::kDouble);
  });
}

}  // namespace

at::Tensor squared_radii(const at::Tensor& set, const CoverageNeighbours& neighbours, Communicator& communicator) {
  const std::int64_t least = std::min(neighbours.of_precision, neighbours.of_density);
  const std::int64_t most = std::max(neighbours.of_precision, neighbours.of_density);
  if (least < 1) refuse("coverage by neighbour {} of a row", least);
  if (set.size(0) <= most)
    refuse("coverage by neighbour {} of a row, of a set of {} rows: at least {} are needed", most, set.size(0),
           most + 1);
  const SquaredDistances distances(set, set);
  return distances.of_rows(set, 2, communicator, [&](std::int64_t, const at::Tensor& rows) {
    at::Tensor nearest = at::empty({rows.size(0), 0}, at::kDouble);
    distances.each_block(rows, set, [&](std::int64_t, const at::Tensor& block) {
      const at::Tensor candidates = at::cat({nearest, block}, 1);
      // The row itself, at distance 0, is one of them.
      const std::int64_t kept = std::min(most + 1, candidates.size(1));
      nearest = std::get<0>(candidates.topk(kept, 1, /*largest=*/false, /*sorted=*/true));
    });
    return at::stack({nearest.select(1, neighbours.of_precision), nearest.select(1, neighbours.of_density)}, 1);
  });
}

Coverage coverage(const at::Tensor& generated, const at::Tensor& real, const at::Tensor& real_radii,
                  const CoverageNeighbours& neighbours, Communicator& communicator) {
  const SquaredDistances distances(generated, real);
  const at::Tensor radii = squared_radii(generated, neighbours, communicator);
  const at::Tensor of_generated = real_balls(distances, generated, real, real_radii, communicator).mean(0);
  const at::Tensor of_real = generated_balls(distances, generated, real, radii, real_radii, communicator).mean(0);
  return {.precision = of_generated[0].item<double>(),
          .recall = of_real[0].item<double>(),
          .density = of_generated[1].item<double>() / static_cast<double>(neighbours.of_density),
          .coverage = of_real[1].item<double>()};
}

}  // namespace couplet
