#include "method/models/recompute.h"

#include "pipeline/tensor/autocast.h"
#include "pipeline/tensor/transformer_ops.h"
#include "tests/pipeline/training/memory_peak.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/pimpl.h>

#include <vector>

namespace couplet {
namespace {

constexpr std::int64_t rows = 256, width = 48, depth = 6;

/// x + W₂ gelu(W₁ x) · (1 + condition)
struct LayerImpl : torch::nn::Module {
  LayerImpl()
      : in(register_module("in", torch::nn::Linear(width, 4 * width))),
        out(register_module("out", torch::nn::Linear(4 * width, width))) {}
  at::Tensor forward(const at::Tensor& x, const at::Tensor& condition) {
    ++calls;
    return x + linear(at::gelu(linear(x, in)), out) * (1 + condition);
  }
  torch::nn::Linear in, out;
  int calls = 0;
};
TORCH_MODULE(Layer);

/// Layers that share a condition, with the same weights whenever it is made.
struct Stack {
  std::vector<Layer> layers;
  at::Tensor x, condition;

  Stack() {
    torch::manual_seed(3);
    for (std::int64_t i = 0; i < depth; ++i) layers.emplace_back();
    x = at::randn({rows, width}).requires_grad_();
    condition = at::randn({width}).requires_grad_();
  }
  at::Tensor output(bool again) {
    at::Tensor y = x;
    for (auto& layer : layers) y = layer_output(again, layer, y, condition);
    return y;
  }
  std::vector<at::Tensor> gradients() const {
    std::vector<at::Tensor> all = {x.grad(), condition.grad()};
    for (const auto& layer : layers) {
      for (const auto& parameter : layer->parameters()) all.push_back(parameter.grad());
    }
    return all;
  }
};

TEST(RecomputedLayers, HaveGradientsOfGradients) {
  Stack kept, again;
  for (Stack* stack : {&kept, &again}) {
    const at::Tensor y = stack->output(stack == &again);
    const at::Tensor slope = torch::autograd::grad({y.square().sum()}, {stack->x}, {}, true, /*create_graph=*/true)[0];
    slope.square().mean().backward();
  }
  const auto expected = kept.gradients(), found = again.gradients();
  for (std::size_t i = 0; i < expected.size(); ++i) {
    ASSERT_EQ(found[i].defined(), expected[i].defined()) << i;
    if (!expected[i].defined()) continue;
    EXPECT_TRUE(found[i].allclose(expected[i], 1e-4, 1e-5)) << i;
  }
}

class Recompute : public testing::TestWithParam<const char*> {};

TEST_P(Recompute, GivesTheSameBits) {
  Stack kept, again;
  for (Stack* stack : {&kept, &again}) {
    at::Tensor y;
    {
      const Autocast autocast(GetParam(), at::kCPU);
      y = stack->output(stack == &again);
    }
    y.to(at::kFloat).square().mean().backward();
  }
  const auto expected = kept.gradients(), found = again.gradients();
  ASSERT_EQ(expected.size(), found.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    ASSERT_TRUE(found[i].defined()) << i;
    EXPECT_GT(expected[i].abs().max().item<double>(), 0) << i;
    EXPECT_TRUE(found[i].equal(expected[i])) << i;
  }
  for (auto& layer : again.layers) EXPECT_EQ(layer->calls, 2);
}

INSTANTIATE_TEST_SUITE_P(Precisions, Recompute, testing::Values("float32", "bfloat16"));

TEST(Recompute, NeedsLessMemory) {
  const auto peak_of = [](bool again) {
    Stack stack;
    const MemoryPeak peak;
    stack.output(again).square().mean().backward();
    return peak.bytes();
  };
  EXPECT_LT(peak_of(true), peak_of(false) / 2);
}

TEST(Recompute, AsksForNothingWhereNoGradientsAreRecorded) {
  Stack stack;
  const at::NoGradGuard no_grad;
  EXPECT_TRUE(stack.output(true).equal(stack.output(false)));
  for (auto& layer : stack.layers) EXPECT_EQ(layer->calls, 2);
}

TEST(Recompute, AFailureInTheBackwardPassIsTheLayers) {
  Stack stack;
  const auto work = [calls = 0](const std::vector<at::Tensor>& in) mutable {
    if (++calls == 2) throw std::runtime_error("no memory left");
    return in[0].square();
  };
  const at::Tensor y = recomputed(work, {stack.x}, {});
  try {
    y.sum().backward();
    ADD_FAILURE() << "no error";
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "no memory left");
  }
}

}  // namespace
}  // namespace couplet
