#include "method/metrics/distances.h"

#include "pipeline/distributed/slices.h"
#include "storage/error.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>
#include <vector>

namespace couplet {
namespace {

constexpr std::int64_t measured_rows = 256, compared_rows = 4096;
constexpr double relative_slack = 1e-12;  ///< of the largest squared norm

}  // namespace

SquaredDistances::SquaredDistances(const at::Tensor& a, const at::Tensor& b) {
  if (a.dim() != 2 || b.dim() != 2 || a.size(1) != b.size(1) || a.size(0) < 1 || b.size(0) < 1)
    refuse("distances between {} rows of {} features and {} rows of {}: both sets need rows of one network", a.size(0),
           a.dim() == 2 ? a.size(1) : 0, b.size(0), b.dim() == 2 ? b.size(1) : 0);
  at::Tensor sum = at::zeros({a.size(1)}, at::kDouble);
  for (const at::Tensor& set : {a, b})
    for (const at::Tensor& block : set.split(compared_rows)) sum.add_(block.to(at::kDouble).sum(0));
  centre_ = sum / static_cast<double>(a.size(0) + b.size(0));
  double largest = 0;
  for (const at::Tensor& set : {a, b})
    for (std::int64_t first = 0; first < set.size(0); first += compared_rows)
      largest = std::max(largest, centred(set, first, compared_rows).square().sum(1).max().item<double>());
  slack_ = relative_slack * largest;
}

at::Tensor SquaredDistances::centred(const at::Tensor& set, std::int64_t first, std::int64_t count) const {
  return set.narrow(0, first, std::min(count, set.size(0) - first)).to(at::kDouble) - centre_;
}

void SquaredDistances::each_block(
    const at::Tensor& x, const at::Tensor& set,
    const std::function<void(std::int64_t first, const at::Tensor& distances)>& use) const {
  const at::Tensor norms = x.square().sum(1, /*keepdim=*/true);
  for (std::int64_t first = 0; first < set.size(0); first += compared_rows) {
    const at::Tensor y = centred(set, first, compared_rows);
    at::Tensor distances = at::addmm(y.square().sum(1).unsqueeze(0), x, y.t(), 1, -2).add_(norms);
    use(first, at::threshold_(distances, slack_, 0));
  }
}

at::Tensor SquaredDistances::of_rows(
    const at::Tensor& set, std::int64_t columns, Communicator& communicator,
    const std::function<at::Tensor(std::int64_t first, const at::Tensor& rows)>& make) const {
  std::vector<at::Tensor> slices;
  for_each_slice(
      communicator, {.rows = set.size(0), .slice_rows = measured_rows, .columns = columns, .stopped = ""},
      [&](std::int64_t first) { return make(first, centred(set, first, measured_rows)); },
      [&](const at::Tensor& values) { slices.push_back(values.clone()); });
  return at::cat(slices);
}

NearestRows nearest_rows(const at::Tensor& x, const at::Tensor& set, Communicator& communicator) {
  const SquaredDistances distances(x, set);
  const at::Tensor found = distances.of_rows(x, 2, communicator, [&](std::int64_t, const at::Tensor& rows) {
    at::Tensor nearest = at::full({rows.size(0)}, std::numeric_limits<double>::infinity(), at::kDouble);
    at::Tensor which = at::zeros({rows.size(0)}, at::kDouble);
    distances.each_block(rows, set, [&](std::int64_t first, const at::Tensor& block) {
      const auto [values, places] = block.min(1);
      const at::Tensor nearer = values.lt(nearest);
      nearest = at::where(nearer, values, nearest);
      which = at::where(nearer, (places + first).to(at::kDouble), which);
    });
    return at::stack({nearest, which}, 1);
  });
  return {found.select(1, 1).to(at::kLong), found.select(1, 0).sqrt()};
}

}  // namespace couplet
