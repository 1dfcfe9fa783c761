#include "pipeline/distributed/shared_tensors.h"

#include "storage/error.h"
#include "tests/pipeline/bytes_read.h"
#include "tests/pipeline/pipeline_testing.h"

#include <ATen/ATen.h>
#include <torch/nn/modules/linear.h>

namespace couplet {
namespace {

/// A megabyte of weights.
torch::nn::Linear network() {
  return torch::nn::Linear(512, 512);
}

TEST(BroadcastTensors, GivesRankZerosToAll) {
  NamedTensors mine = {{"another", at::ones({2})}};
  if (ranks().is_root())
    mine = {{"position", at::arange(5)}, {"half", at::full({2, 3}, 0.5, at::kHalf)}, {"none", at::empty({0, 4})}};
  const NamedTensors shared = broadcast_tensors(mine, ranks());
  ASSERT_EQ(shared.size(), 3U);
  EXPECT_TRUE(shared.at("position").equal(at::arange(5)));
  EXPECT_TRUE(shared.at("half").equal(at::full({2, 3}, 0.5, at::kHalf)));
  EXPECT_EQ(shared.at("none").sizes(), (std::vector<std::int64_t>{0, 4}));
  EXPECT_TRUE(broadcast_tensors({}, ranks()).empty());
}

TEST(WithWeights, OneRankReadsTheFileForAll) {
  const SharedDirectory directory;
  const auto path = directory / "model" / "weights.safetensors";
  const at::Tensor weight = at::arange(512 * 512, at::kFloat).view({512, 512}), bias = at::arange(512, at::kFloat);
  if (ranks().is_root()) publish_tensors(path, {{"weight", weight}, {"bias", bias}});
  ranks().barrier();
  const double before = bytes_read();
  const torch::nn::Linear loaded = with_weights(network(), path, test_device(), ranks());
  const double mine = bytes_read() - before, bytes = 512 * 513 * 4;
  EXPECT_TRUE(loaded->weight.cpu().equal(weight));
  EXPECT_TRUE(loaded->bias.cpu().equal(bias));
  EXPECT_EQ(loaded->weight.device(), test_device());
  EXPECT_FALSE(loaded->is_training());
  EXPECT_TRUE(loaded->weight.requires_grad());
  if (ranks().is_root()) {
    EXPECT_GE(mine, bytes);
    EXPECT_LE(mine, 1.05 * bytes);
  } else {
    EXPECT_LE(mine, 0.05 * bytes);
  }
}

TEST(WithWeights, WhatIsWrongWithTheFileEveryRankSays) {
  const SharedDirectory directory;
  const auto path = directory / "model" / "weights.safetensors";
  const auto message = [&] { return error_of([&] { with_weights(network(), path, test_device(), ranks()); }); };
  expect_contains(message(), path.string());
  if (ranks().is_root()) publish_tensors(path, {{"weight", at::ones({512, 512})}});
  ranks().barrier();
  expect_contains(message(), "the model's bias is missing in these weights");
}

}  // namespace
}  // namespace couplet
