#include "pipeline/optimizer/gradient_tree.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <bit>

namespace couplet {

GradientTree::GradientTree(FlatParameters& parameters, std::int64_t groups) : parameters_(parameters), groups_(groups) {
  kept_.resize(static_cast<std::size_t>(std::countr_zero(static_cast<std::uint64_t>(groups))));
  for (auto& level : kept_) {
    for (const auto& bucket : parameters_.buckets()) level.push_back(at::empty_like(bucket.gradients));
  }
}

void GradientTree::add(std::int64_t group) {
  const at::NoGradGuard no_grad;
  const auto full = static_cast<std::size_t>(std::countr_one(static_cast<std::uint64_t>(group)));
  for (std::size_t i = 0; i < parameters_.buckets().size(); ++i) {
    const at::Tensor& gradients = parameters_.buckets()[i].gradients;
    for (std::size_t level = 0; level < full; ++level) gradients.add_(kept_[level][i]);
    if (group + 1 < groups_) kept_[full][i].copy_(gradients);
  }
  if (group + 1 < groups_) parameters_.zero_gradients();
}

void sum_in_tree(const at::Tensor& flat, const Share& share, Communicator& communicator) {
  if (communicator.size() == 1) return;
  const at::NoGradGuard no_grad;
  const at::Tensor of_ranks = communicator.all_gather(flat);
  const auto sum_of = [&](int rank) { return share.of(of_ranks.select(0, rank)); };
  for (int width = 1; width < communicator.size(); width *= 2) {
    for (int rank = 0; rank < communicator.size(); rank += 2 * width) sum_of(rank).add_(sum_of(rank + width));
  }
  share.of(flat).copy_(sum_of(0));
}

}  // namespace couplet
