#include "pipeline/tensor/transformer_ops.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <vector>

namespace couplet {
namespace {

double difference(const at::Tensor& a, const at::Tensor& b) {
  return (a.detach().to(at::kDouble) - b.detach().to(at::kDouble)).abs().max().item<double>();
}

struct Layer {
  at::Tensor weight, bias;
  Layer(std::int64_t from, std::int64_t to)
      : weight(at::randn({to, from}).requires_grad_()), bias(at::randn({to}).requires_grad_()) {}
};

/// The result, then the gradients of x, weight and bias, then those of the first one's squared norm.
std::vector<at::Tensor> everything(const at::Tensor& y, const at::Tensor& x, const Layer& layer) {
  const auto first =
      torch::autograd::grad({(y * y).sum()}, {x, layer.weight, layer.bias}, {}, true, /*create_graph=*/true);
  const auto second = torch::autograd::grad({first[0].square().sum()}, {x, layer.weight, layer.bias});
  std::vector<at::Tensor> all{y};
  all.insert(all.end(), first.begin(), first.end());
  all.insert(all.end(), second.begin(), second.end());
  return all;
}

TEST(TransformerOps, LinearIsTorchsLinearWithBothItsDerivatives) {
  for (const auto& [from, to] : {std::pair<std::int64_t, std::int64_t>{24, 40}, {40, 24}, {16, 16}}) {
    const Layer layer(from, to);
    const auto whole = at::randn({3, 7, from}).requires_grad_();
    for (const auto& x : {whole, whole.narrow(1, 1, 5), whole.select(1, 2)}) {
      const auto ours = everything(linear(x, layer.weight, layer.bias), x, layer);
      const auto theirs = everything(at::linear(x, layer.weight, layer.bias), x, layer);
      for (std::size_t i = 0; i < ours.size(); ++i) {
        EXPECT_LE(difference(ours[i], theirs[i]), 1e-5 * theirs[i].abs().max().item<double>()) << i;
      }
    }
  }
}

TEST(TransformerOps, LinearGivesPlainGradients) {
  const Layer layer(24, 40);
  const auto x = at::randn({5, 6, 24}).requires_grad_();
  const auto gradients = [&](const at::Tensor& y) {
    return torch::autograd::grad({y.square().sum()}, {x, layer.weight, layer.bias});
  };
  const auto ours = gradients(linear(x, layer.weight, layer.bias));
  const auto theirs = gradients(at::linear(x, layer.weight, layer.bias));
  for (std::size_t i = 0; i < ours.size(); ++i) {
    EXPECT_TRUE(ours[i].is_contiguous()) << i;
    EXPECT_LE(difference(ours[i], theirs[i]), 1e-5 * theirs[i].abs().max().item<double>()) << i;
  }
  EXPECT_FALSE(linear(x.detach(), layer.weight.detach(), layer.bias.detach()).requires_grad());
  EXPECT_EQ(linear(x.to(at::kDouble), layer.weight.to(at::kDouble), layer.bias.to(at::kDouble)).scalar_type(),
            at::kDouble);
}

TEST(TransformerOps, AttentionInHalfPrecisionIsClose) {
  for (const std::int64_t tokens : {7, 300}) {
    for (const bool causal : {false, true}) {
      const auto exact = at::randn({3, 2, 2, tokens, 8}).requires_grad_();
      const auto run = [&](at::ScalarType type) {
        const auto parts = exact.to(type).unbind(0);
        const auto y = attention(parts[0], parts[1], parts[2], causal);
        EXPECT_EQ(y.scalar_type(), type);
        return std::vector<at::Tensor>{y, torch::autograd::grad({y.to(at::kFloat).square().sum()}, {exact}).front()};
      };
      const auto half = run(at::kBFloat16), full = run(at::kFloat);
      EXPECT_LE(difference(half[0], full[0]), 0.05) << tokens << causal;
      EXPECT_LE(difference(half[1], full[1]), 0.05 * full[1].abs().max().item<double>()) << tokens << causal;
    }
  }
}

}  // namespace
}  // namespace couplet
