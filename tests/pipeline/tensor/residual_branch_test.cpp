#include "pipeline/tensor/residual_branch.h"
#include "pipeline/tensor/autocast.h"
#include "pipeline/tensor/transformer_ops.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

namespace couplet {
namespace {

/// The root mean square of a - b, of b's.
double branch_difference(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor exact = b.detach().to(at::kDouble);
  return ((a.detach().to(at::kDouble) - exact).square().mean() / exact.square().mean()).sqrt().item<double>();
}

struct BranchCase {
  std::string name;
  std::int64_t heads = 0;  ///< 0: GELU
  bool causal = false, of_images = false;
  Gelu gelu = Gelu::erf;
  std::int64_t rows = 3, tokens = 7, channels = 20, hidden = 52;
};

std::vector<BranchCase> branch_cases() {
  return {{.name = "attention", .heads = 5, .of_images = true},
          {.name = "causal attention", .heads = 2, .causal = true},
          {.name = "one token", .heads = 4, .causal = true, .tokens = 1},
          {.name = "more channels and tokens", .heads = 3, .of_images = true, .rows = 2, .tokens = 49, .channels = 96},
          {.name = "GELU"},
          {.name = "GELU by tanh", .of_images = true, .gelu = Gelu::tanh},
          {.name = "more rows", .rows = 5, .tokens = 48, .channels = 64, .hidden = 256}};
}

/// x, factor, offset, weights and biases, and the gate.
std::vector<at::Tensor> branch_inputs(const BranchCase& c) {
  const auto normal = [](at::IntArrayRef sizes, double scale) {
    return (at::randn(sizes, at::kDouble) * scale).to(at::kFloat);
  };
  const std::int64_t n = c.channels, in = c.heads > 0 ? 3 * n : c.hidden, out = c.heads > 0 ? n : c.hidden;
  std::vector<at::Tensor> all{normal({c.rows, c.tokens, n}, 1.5) + 0.3};
  const std::vector<std::int64_t> of_norm = c.of_images ? std::vector{c.rows, n} : std::vector{n};
  all.push_back(1 + normal(of_norm, 0.5));
  all.push_back(normal(of_norm, 0.5));
  all.push_back(normal({in, n}, 1.5 / std::sqrt(static_cast<double>(n))));
  all.push_back(normal({in}, 0.5));
  all.push_back(normal({n, out}, 1 / std::sqrt(static_cast<double>(out))));
  all.push_back(normal({n}, 0.5));
  if (c.of_images) all.push_back(normal({c.rows, n}, 1));
  return all;
}

at::Tensor of_branch(const BranchCase& c, const std::vector<at::Tensor>& in) {
  const ResidualBranch branch{1e-5, in[1], in[2], in[3], in[4], in[5], in[6], in.size() > 7 ? in[7] : at::Tensor(), {}};
  return c.heads > 0 ? with_attention(in[0], branch, c.heads, c.causal) : with_mlp(in[0], branch, c.gelu);
}

std::vector<at::Tensor> branch_leaves(const std::vector<at::Tensor>& values, at::ScalarType type) {
  std::vector<at::Tensor> all;
  for (const at::Tensor& value : values) all.push_back(value.detach().to(type).clone().requires_grad_());
  return all;
}

/// The output and the gradients of all inputs for a given one of the output.
std::vector<at::Tensor> output_and_gradients(const BranchCase& c, const std::vector<at::Tensor>& in,
                                             const std::string& precision, const at::Tensor& slope) {
  const Autocast autocast(precision, at::kCPU);
  const at::Tensor y = of_branch(c, in);
  std::vector<at::Tensor> all{y.detach()};
  for (at::Tensor& each : torch::autograd::grad({y}, in, {slope.to(y.scalar_type())})) all.push_back(std::move(each));
  return all;
}

/// In double, the plain operations compute.
TEST(ResidualBranch, IsThePlainOperationsWithTheirGradients) {
  at::manual_seed(1);
  for (const BranchCase& c : branch_cases()) {
    const auto values = branch_inputs(c);
    const at::Tensor slope = at::randn(values[0].sizes());
    const auto exact = output_and_gradients(c, branch_leaves(values, at::kDouble), "float32", slope);
    for (const auto& [precision, tolerance] : {std::pair{"float32", 2e-6}, {"bfloat16", 0.015}}) {
      const auto ours = output_and_gradients(c, branch_leaves(values, at::kFloat), precision, slope);
      for (std::size_t i = 0; i < ours.size(); ++i) {
        EXPECT_EQ(ours[i].scalar_type(), at::kFloat) << c.name << ", " << i;
        EXPECT_EQ(ours[i].sizes(), exact[i].sizes()) << c.name << ", " << i;
        // With one token, attention is the value alone: scores have no gradient but that of rounding.
        EXPECT_LE(branch_difference(ours[i], exact[i]), tolerance) << c.name << ", " << precision << ", " << i;
      }
    }
  }
}

/// Rounding by the plain operations is as coarse.
TEST(ResidualBranch, Bfloat16IsAsExactAsThePlainOperations) {
  at::manual_seed(2);
  for (const BranchCase& c : branch_cases()) {
    const auto values = branch_inputs(c);
    const at::Tensor slope = at::randn(values[0].sizes());
    const auto exact = output_and_gradients(c, branch_leaves(values, at::kDouble), "float32", slope);
    const auto ours = output_and_gradients(c, branch_leaves(values, at::kFloat), "bfloat16", slope);
    const TwiceDifferentiable plain;
    const auto theirs = output_and_gradients(c, branch_leaves(values, at::kFloat), "bfloat16", slope);
    for (std::size_t i = 0; i < ours.size(); ++i)
      EXPECT_LE(branch_difference(ours[i], exact[i]), 1.2 * branch_difference(theirs[i], exact[i]) + 1e-4)
          << c.name << ", " << i;
  }
}

TEST(ResidualBranch, GradientsHaveGradients) {
  at::manual_seed(3);
  for (const BranchCase& c : branch_cases()) {
    const auto values = branch_inputs(c);
    const auto second = [&](at::ScalarType type, const std::string& precision) {
      const Autocast autocast(precision, at::kCPU);
      const auto in = branch_leaves(values, type);
      const auto first = torch::autograd::grad({of_branch(c, in).square().sum()}, in, {}, true, /*create_graph=*/true);
      return torch::autograd::grad({first[0].square().sum() + first[3].sum()}, in);
    };
    const auto ours = second(at::kFloat, "float32"), exact = second(at::kDouble, "float32");
    const auto rounded = second(at::kFloat, "bfloat16");
    const TwiceDifferentiable plain;
    const auto plainly_rounded = second(at::kFloat, "bfloat16");
    double of_ours = 0, of_plain = 0;  // rounding, of all inputs' together: that of one bias is chance
    for (std::size_t i = 0; i < ours.size(); ++i) {
      EXPECT_LE(branch_difference(ours[i], exact[i]), 1e-4) << c.name << ", " << i;
      of_ours += branch_difference(rounded[i], exact[i]);
      of_plain += branch_difference(plainly_rounded[i], exact[i]);
    }
    EXPECT_LE(of_ours, 1.2 * of_plain) << c.name;
  }
}

/// Views in place of whole tensors, weights that are not trained, and no gradients at all.
TEST(ResidualBranch, TakesViewsAndGivesWhatIsWanted) {
  at::manual_seed(4);
  for (const BranchCase& c : branch_cases()) {
    const auto values = branch_inputs(c);
    const auto whole = branch_leaves(values, at::kFloat);
    const at::Tensor slope = at::randn(values[0].sizes());
    const auto expected = output_and_gradients(c, whole, "bfloat16", slope);
    std::vector<at::Tensor> views;
    for (const at::Tensor& value : values) {
      const at::Tensor twice = at::cat({value, value}, -1);
      views.push_back(twice.narrow(-1, value.size(-1), value.size(-1)));
    }
    for (const std::size_t i : {0, 1}) views[i].requires_grad_();
    const Autocast autocast("bfloat16", at::kCPU);
    const at::Tensor y = of_branch(c, views);
    EXPECT_TRUE(at::equal(y, expected[0])) << c.name;
    const auto some =
        torch::autograd::grad({y}, {views[0], views[1]}, {slope.transpose(0, 1).contiguous().transpose(0, 1)});
    EXPECT_TRUE(at::equal(some[0], expected[1])) << c.name;
    EXPECT_TRUE(at::equal(some[1], expected[2])) << c.name;
    const at::NoGradGuard no_grad;
    EXPECT_TRUE(at::equal(of_branch(c, whole), expected[0])) << c.name;
  }
}

TEST(ResidualBranch, BitsDoNotDependOnThreads) {
  at::manual_seed(5);
  const int threads = at::get_num_threads();
  for (const BranchCase& c : branch_cases()) {
    const auto in = branch_leaves(branch_inputs(c), at::kFloat);
    const at::Tensor slope = at::randn(in[0].sizes());
    at::set_num_threads(1);
    const auto one = output_and_gradients(c, in, "bfloat16", slope);
    at::set_num_threads(2);
    const auto two = output_and_gradients(c, in, "bfloat16", slope);
    for (std::size_t i = 0; i < one.size(); ++i) EXPECT_TRUE(at::equal(one[i], two[i])) << c.name << ", " << i;
  }
  at::set_num_threads(threads);
}

/// A row of what is added is 0 where the mask is.
TEST(ResidualBranch, MaskTakesAway) {
  at::manual_seed(6);
  for (const BranchCase& c : branch_cases()) {
    const auto in = branch_inputs(c);
    ResidualBranch branch{1e-5, in[1], in[2], in[3], in[4], in[5], in[6], {}, at::ones_like(in[0])};
    branch.mask.select(1, 0).zero_();
    const auto of = [&] {
      return c.heads > 0 ? with_attention(in[0], branch, c.heads, c.causal) : with_mlp(in[0], branch, c.gelu);
    };
    const at::Tensor masked = of();
    branch.mask = at::Tensor();
    const at::Tensor whole = of();
    EXPECT_TRUE(at::equal(masked.select(1, 0), in[0].select(1, 0))) << c.name;
    EXPECT_TRUE(at::allclose(masked.narrow(1, 1, c.tokens - 1), whole.narrow(1, 1, c.tokens - 1), 1e-4, 1e-5))
        << c.name;
  }
}

}  // namespace
}  // namespace couplet
