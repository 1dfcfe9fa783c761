#include "pipeline/optimizer/flat_parameters.h"

#include "tests/pipeline/pipeline_testing.h"

#include <ATen/ATen.h>
#include <torch/nn/module.h>

#include <cstdint>

namespace couplet {
namespace {

struct Inner : torch::nn::Module {
  Inner() {
    weight = register_parameter("weight", at::randn({5, 7}));
    bias = register_parameter("bias", at::randn({5}));
  }
  at::Tensor weight, bias;
};

/// Parameters of many sizes, in a nested module, one of them not trained; a buffer.
struct Model : torch::nn::Module {
  Model() {
    table = register_parameter("table", at::randn({5, 1, 7}));
    frozen = register_parameter("frozen", at::randn({4, 4}), /*requires_grad=*/false);
    count = register_buffer("count", at::zeros({1}));
    first = register_module("first", std::make_shared<Inner>());
    second = register_module("second", std::make_shared<Inner>());
  }
  at::Tensor table, frozen, count;
  std::shared_ptr<Inner> first, second;
};

NamedTensors copies(const NamedTensors& tensors) {
  NamedTensors out;
  for (const auto& [name, tensor] : tensors) out.emplace(name, tensor.detach().clone());
  return out;
}

std::vector<std::string> names_of(const Bucket& bucket) {
  std::vector<std::string> names;
  for (const auto& place : bucket.places) names.push_back(place.name);
  return names;
}

TEST(FlatParameters, HoldTheParametersWhereBackwardReachesThemFirst) {
  Model model;
  const NamedTensors before = copies(named_tensors(model));
  const FlatParameters flat(model, {.bytes = 256, .parts = 3});
  expect_bit_equal(copies(named_tensors(model)), before);

  // Matrices of 140 bytes, 192 with what aligns them: one a bucket of 256. Vectors of 20, together.
  const std::vector<std::vector<std::string>> expected = {
      {"second.weight"}, {"first.bias", "second.bias"}, {"first.weight"}, {"table"}};
  std::vector<std::vector<std::string>> found;
  for (const auto& bucket : flat.buckets()) {
    auto names = names_of(bucket);
    EXPECT_EQ(bucket.decays, bucket.places.front().parameter.dim() >= 2);
    std::sort(names.begin(), names.end());
    found.push_back(names);
    EXPECT_EQ(bucket.values.numel() % (3 * 16), 0) << "three parts of whole cache lines";
    for (const auto& place : bucket.places) {
      EXPECT_EQ(place.first % 16, 0);
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(place.parameter.const_data_ptr()) % 64, 0U);
    }
  }
  EXPECT_EQ(found, expected);
  EXPECT_FALSE(model.frozen.grad().defined());
}

TEST(FlatParameters, AreTheParametersAndTheirGradients) {
  Model model;
  {
    FlatParameters flat(model, {.bytes = 1 << 20, .parts = 2});
    ASSERT_EQ(flat.buckets().size(), 2U);
    (model.first->weight * 2 + model.second->weight * 3).sum().backward();
    for (auto bucket : flat.buckets()) bucket.values.add_(bucket.gradients);
    EXPECT_TRUE(model.second->weight.grad().equal(at::full({5, 7}, 3)));
    EXPECT_TRUE(model.table.grad().equal(at::zeros({5, 1, 7}))) << "not reached";
    const at::Tensor moved = model.second->weight.detach().clone();
    std::vector<at::Tensor> values;
    for (const auto& bucket : flat.buckets()) values.push_back(bucket.values);
    const NamedTensors named = flat.named(values, ".x");
    EXPECT_EQ(named.size(), 5U);
    EXPECT_TRUE(named.at("second.weight.x").equal(moved));
    // A second pass adds; zeroing goes through to the parameters.
    (model.second->weight * 3).sum().backward();
    EXPECT_TRUE(model.second->weight.grad().equal(at::full({5, 7}, 6)));
    flat.zero_gradients();
    EXPECT_TRUE(model.second->weight.grad().equal(at::zeros({5, 7})));
  }
  EXPECT_FALSE(model.first->weight.grad().defined());
}

TEST(FlatParameters, OfSeveralTypesAreRefused) {
  Model model;
  model.second->to(at::kDouble);
  const std::string message = error_of([&] { const FlatParameters flat(model, {}); });
  expect_contains(message, "parameter second.weight is Double on cpu, table is Float on cpu");
}

TEST(Share, IsAnEqualPart) {
  const at::Tensor flat = at::arange(12);
  EXPECT_TRUE((Share{1, 3}).of(flat).equal(at::arange(4, 8)));
  EXPECT_TRUE(Share{}.of(flat).equal(flat));
}

TEST(BucketBytes, SuitTheDeviceUnlessTheyAreGiven) {
  EXPECT_EQ(bucket_bytes(0, false), 4 << 20);
  EXPECT_EQ(bucket_bytes(0, true), 25 << 20);
  EXPECT_EQ(bucket_bytes(0.5, false), 1 << 19);
  EXPECT_EQ(bucket_bytes(0.5, true), 1 << 19);
}

}  // namespace
}  // namespace couplet
