#include "method/metrics/nearest_images.h"

#include "pipeline/distributed/slices.h"
#include "storage/error.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <tuple>
#include <vector>

namespace couplet {
namespace {

constexpr std::int64_t searched_rows = 512;
constexpr std::int64_t block_values = std::int64_t{1} << 22;  ///< of images held as float64

/// [rows, 2 k]: squared distances, then indices, of the images nearest to x, float64 [rows, values].
at::Tensor search(const at::Tensor& x, const SearchedImages& images, std::int64_t k) {
  const std::int64_t block = std::max<std::int64_t>(1, block_values / x.size(1));
  const at::Tensor norms = x.square().sum(1, /*keepdim=*/true);
  at::Tensor nearest = at::empty({x.size(0), 0}, at::kDouble), rows = nearest;
  for (std::int64_t first = 0; first < images.rows; first += block) {
    const at::Tensor read = images.read(first, std::min(block, images.rows - first));
    const at::Tensor y = read.flatten(1).to(at::kDouble);
    const at::Tensor distances = at::addmm(y.square().sum(1).unsqueeze(0), x, y.t(), 1, -2).add_(norms);
    const auto [of_block, places] = distances.topk(std::min(k, y.size(0)), 1, /*largest=*/false);
    const at::Tensor candidates = at::cat({nearest, of_block}, 1);
    const at::Tensor candidate_rows = at::cat({rows, (places + first).to(at::kDouble)}, 1);
    const auto [values, order] = candidates.topk(std::min(k, candidates.size(1)), 1, /*largest=*/false);
    nearest = values;
    rows = candidate_rows.gather(1, order);
  }
  return at::cat({nearest, rows}, 1);
}

}  // namespace

NearestImages nearest_images(const at::Tensor& samples, const SearchedImages& images, std::int64_t k,
                             Communicator& communicator) {
  if (samples.dim() != 4 || samples.scalar_type() != at::kByte || samples.size(0) < 1)
    refuse("nearest images of samples [{}]: expected 8-bit images [n, C, H, W]", fmt::join(samples.sizes(), ", "));
  if (k < 1 || k > images.rows) refuse("the {} nearest of {} images", k, images.rows);
  const at::Tensor one = images.read(0, 1);
  if (one.sizes().slice(1) != samples.sizes().slice(1))
    refuse("samples of [{}] searched for among images of [{}]: they differ in size",
           fmt::join(samples.sizes().slice(1), ", "), fmt::join(one.sizes().slice(1), ", "));
  std::vector<at::Tensor> found;
  for_each_slice(
      communicator, {.rows = samples.size(0), .slice_rows = searched_rows, .columns = 2 * k, .stopped = ""},
      [&](std::int64_t first) {
        const at::Tensor rows = samples.narrow(0, first, std::min(searched_rows, samples.size(0) - first));
        return search(rows.flatten(1).to(at::kDouble), images, k);
      },
      [&](const at::Tensor& values) { found.push_back(values.clone()); });
  const at::Tensor all = at::cat(found);
  return {all.narrow(1, k, k).to(at::kLong), all.narrow(1, 0, k).sqrt()};
}

}  // namespace couplet
