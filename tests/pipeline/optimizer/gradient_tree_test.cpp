#include "pipeline/optimizer/gradient_tree.h"

#include "tests/pipeline/ranks.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/nn/module.h>

#include <vector>

// On 1, 2 and 4 ranks, which share eight slices.

namespace couplet {
namespace {

constexpr std::int64_t slices = 8;

struct Model : torch::nn::Module {
  Model() {
    weight = register_parameter("weight", at::zeros({40, 30}));
    bias = register_parameter("bias", at::zeros({40}));
  }
  at::Tensor weight, bias;
};

/// Of many magnitudes, so that every order of adding them rounds in another way.
at::Tensor gradient(const at::Tensor& parameter, std::int64_t slice) {
  torch::manual_seed(static_cast<std::uint64_t>(slice + 1));
  return at::randn(parameter.sizes()) * at::pow(10, at::randint(-3, 4, parameter.sizes()));
}

/// By the definition: pairs of neighbours, then pairs of those.
at::Tensor tree_sum(const at::Tensor& parameter) {
  std::vector<at::Tensor> sums;
  for (std::int64_t slice = 0; slice < slices; ++slice) sums.push_back(gradient(parameter, slice));
  for (; sums.size() > 1; sums.resize(sums.size() / 2)) {
    for (std::size_t i = 0; i < sums.size() / 2; ++i) sums[i] = sums[2 * i] + sums[2 * i + 1];
  }
  return sums.front();
}

TEST(GradientTree, AddsUpInOneOrderOnAnyNumberOfRanks) {
  const std::int64_t own = slices / ranks().size(), first = own * ranks().rank();
  for (const bool shared : {false, true}) {
    const Share share = shared ? Share{ranks().rank(), ranks().size()} : Share{};
    Model model;
    FlatParameters parameters(model, {.bytes = 1 << 20, .parts = slices});
    GradientTree tree(parameters, own);
    for (int step = 0; step < 2; ++step) {
      parameters.zero_gradients();
      for (std::int64_t slice = 0; slice < own; ++slice) {
        for (auto& parameter : model.parameters()) {
          EXPECT_TRUE(parameter.grad().equal(at::zeros_like(parameter))) << slice;
          parameter.mutable_grad().copy_(gradient(parameter, first + slice));
        }
        tree.add(slice);
      }
      for (const auto& bucket : parameters.buckets()) {
        sum_in_tree(bucket.gradients, share, ranks());
        at::Tensor expected = at::zeros_like(bucket.gradients);
        for (const auto& place : bucket.places)
          expected.narrow(0, place.first, place.parameter.numel()).copy_(tree_sum(place.parameter).flatten());
        EXPECT_TRUE(share.of(bucket.gradients).equal(share.of(expected)));
      }
    }
  }
  // The order matters for these numbers, or nothing has been shown.
  at::Tensor in_turn = gradient(Model().weight, 0);
  for (std::int64_t slice = 1; slice < slices; ++slice) in_turn = in_turn + gradient(Model().weight, slice);
  EXPECT_FALSE(in_turn.equal(tree_sum(Model().weight)));
}

}  // namespace
}  // namespace couplet
