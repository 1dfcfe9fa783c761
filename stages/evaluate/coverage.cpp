#include "stages/evaluate/coverage.h"

#include "pipeline/slices.h"
#include "stages/evaluate/distances.h"
#include "storage/error.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <functional>
#include <vector>

namespace couplet {
namespace {

constexpr std::int64_t slice_rows = 256;

/// Columns of every row of `set`, in order, computed by the ranks in turn: float64 [rows, columns].
at::Tensor of_rows(const SquaredDistances& distances, const at::Tensor& set, std::int64_t columns,
                   Communicator& communicator,
                   const std::function<at::Tensor(std::int64_t first, const at::Tensor& rows)>& make) {
  std::vector<at::Tensor> slices;
  for_each_slice(
      communicator, {.rows = set.size(0), .slice_rows = slice_rows, .columns = columns, .stopped = ""},
      [&](std::int64_t first) { return make(first, distances.rows(set, first, slice_rows)); },
      [&](const at::Tensor& values) { slices.push_back(values.clone()); });
  return at::cat(slices);
}

/// Squared radii of the balls around each row of a set: [rows, 2], to neighbour k[0] and to neighbour k[1].
at::Tensor squared_radii(const SquaredDistances& distances, const at::Tensor& set, const CoverageNeighbours& k,
                         Communicator& communicator) {
  const std::int64_t most = std::max(k.of_precision, k.of_density) + 1;  // itself, at distance 0, is one of them
  return of_rows(distances, set, 2, communicator, [&](std::int64_t, const at::Tensor& rows) {
    at::Tensor nearest = at::empty({rows.size(0), 0}, at::kDouble);
    distances.each_block(rows, set, [&](std::int64_t, const at::Tensor& block) {
      const at::Tensor candidates = at::cat({nearest, block}, 1);
      nearest = std::get<0>(candidates.topk(std::min(most, candidates.size(1)), 1, /*largest=*/false, /*sorted=*/true));
    });
    return at::stack({nearest.select(1, k.of_precision), nearest.select(1, k.of_density)}, 1);
  });
}

/// For each generated row: 1 if it is within a real ball, and how many real balls it is in.
at::Tensor real_balls(const SquaredDistances& distances, const at::Tensor& generated, const at::Tensor& real,
                      const at::Tensor& radii, Communicator& communicator) {
  const at::Tensor reach = radii.select(1, 0) + distances.slack(), within = radii.select(1, 1) - distances.slack();
  return of_rows(distances, generated, 2, communicator, [&](std::int64_t, const at::Tensor& rows) {
    at::Tensor touched = at::zeros({rows.size(0)}, at::kBool), balls = at::zeros({rows.size(0)}, at::kDouble);
    distances.each_block(rows, real, [&](std::int64_t first, const at::Tensor& block) {
      touched.logical_or_(block.le(reach.narrow(0, first, block.size(1))).any(1));
      balls.add_(block.lt(within.narrow(0, first, block.size(1))).sum(1));
    });
    return at::stack({touched.to(at::kDouble), balls}, 1);
  });
}

/// For each real row: 1 if it is within a generated ball, and 1 if its own ball holds a generated row.
at::Tensor generated_balls(const SquaredDistances& distances, const at::Tensor& generated, const at::Tensor& real,
                           const at::Tensor& radii, const at::Tensor& real_radii, Communicator& communicator) {
  const at::Tensor reach = radii.select(1, 0) + distances.slack();
  const at::Tensor within = real_radii.select(1, 1) - distances.slack();
  return of_rows(distances, real, 2, communicator, [&](std::int64_t start, const at::Tensor& rows) {
    const at::Tensor own = within.narrow(0, start, rows.size(0)).unsqueeze(1);
    at::Tensor touched = at::zeros({rows.size(0)}, at::kBool), holds = touched.clone();
    distances.each_block(rows, generated, [&](std::int64_t first, const at::Tensor& block) {
      touched.logical_or_(block.le(reach.narrow(0, first, block.size(1))).any(1));
      holds.logical_or_(block.lt(own).any(1));
    });
    return at::stack({touched, holds}, 1).to(at::kDouble);
  });
}

void check_sets(const at::Tensor& generated, const at::Tensor& real, const CoverageNeighbours& k) {
  const std::int64_t most = std::max(k.of_precision, k.of_density);
  if (std::min(k.of_precision, k.of_density) < 1)
    refuse("coverage by neighbour {} of a row", std::min(k.of_precision, k.of_density));
  if (std::min(generated.size(0), real.size(0)) <= most)
    refuse("coverage by neighbour {} of a row, of sets of {} and {} rows: at least {} are needed", most,
           generated.size(0), real.size(0), most + 1);
}

}  // namespace

Coverage coverage(const at::Tensor& generated, const at::Tensor& real, const CoverageNeighbours& neighbours,
                  Communicator& communicator) {
  check_sets(generated, real, neighbours);
  const SquaredDistances distances(generated, real);
  const at::Tensor real_radii = squared_radii(distances, real, neighbours, communicator);
  const at::Tensor radii = squared_radii(distances, generated, neighbours, communicator);
  const at::Tensor of_generated = real_balls(distances, generated, real, real_radii, communicator).mean(0);
  const at::Tensor of_real = generated_balls(distances, generated, real, radii, real_radii, communicator).mean(0);
  return {.precision = of_generated[0].item<double>(),
          .recall = of_real[0].item<double>(),
          .density = of_generated[1].item<double>() / static_cast<double>(neighbours.of_density),
          .coverage = of_real[1].item<double>()};
}

}  // namespace couplet
