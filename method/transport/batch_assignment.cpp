#include "method/transport/batch_assignment.h"

#include "method/transport/assignment.h"
#include "pipeline/tensor/row_chunks.h"
#include "storage/error.h"

#include <ATen/ATen.h>

#include <map>
#include <numeric>
#include <span>
#include <utility>

namespace couplet {
namespace {

void require_finite(const at::Tensor& squares, const char* what) {
  const at::Tensor finite = squares.isfinite();
  if (finite.all().item<bool>()) return;
  fail("{} {} of {} has values that are not finite, or too large: no noise can be assigned", what,
       finite.logical_not().nonzero()[0].item<std::int64_t>(), squares.size(0));
}

at::Tensor squared_norms(const at::Tensor& rows) {
  return rows.square().sum(1);
}

}  // namespace

at::Tensor squared_distances(const at::Tensor& x, const at::Tensor& z) {
  const OneThread one_thread;
  const at::Tensor a = x.flatten(1), b = z.flatten(1);
  return a.mm(b.t()).mul_(-2).add_(squared_norms(a).unsqueeze(1)).add_(squared_norms(b));
}

std::vector<std::vector<std::int64_t>> rows_of_pools(const at::Tensor& pools, std::int64_t rows) {
  if (!pools.defined()) {
    std::vector<std::int64_t> all(static_cast<std::size_t>(rows));
    std::iota(all.begin(), all.end(), 0);
    return {all};
  }
  std::map<std::int64_t, std::vector<std::int64_t>> by_pool;
  const at::Tensor numbers = pools.contiguous();
  const auto* pool = numbers.const_data_ptr<std::int64_t>();
  for (std::int64_t row = 0; row < rows; ++row) by_pool[pool[row]].push_back(row);
  std::vector<std::vector<std::int64_t>> all;
  for (auto& [number, members] : by_pool) all.push_back(std::move(members));
  return all;
}

at::Tensor transport_permutation(const at::Tensor& images, const at::Tensor& noise, const at::Tensor& pools,
                                 const std::stop_token& stop) {
  const OneThread one_thread;
  const std::int64_t n = images.size(0);
  if (noise.size(0) != n || (pools.defined() && pools.size(0) != n))
    fail("{} images cannot be paired one by one with {} noises", n, noise.size(0));
  require_finite(squared_norms(images.flatten(1)), "image");
  require_finite(squared_norms(noise.flatten(1)), "noise");
  at::Tensor permutation = at::empty({n}, at::kInt);
  auto* noise_of = permutation.mutable_data_ptr<std::int32_t>();
  for (const std::vector<std::int64_t>& rows : rows_of_pools(pools, n)) {
    const at::Tensor chosen = at::tensor(rows, at::kLong);
    const at::Tensor cost = squared_distances(images.index_select(0, chosen), noise.index_select(0, chosen));
    const Assignment assignment = solve_assignment(
        std::span(cost.const_data_ptr<float>(), static_cast<std::size_t>(cost.numel())), std::ssize(rows), stop);
    for (std::size_t i = 0; i < rows.size(); ++i)
      noise_of[rows[i]] = static_cast<std::int32_t>(rows[static_cast<std::size_t>(assignment.column_of_row[i])]);
  }
  return permutation;
}

}  // namespace couplet
