#include "pipeline/tensor/group_norm.h"
#include "storage/error.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <limits>
#include <string>
#include <tuple>
#include <vector>

namespace couplet {
namespace {

/// How far a is from b, of b's largest value.
double difference(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor exact = b.detach().to(at::kDouble);
  return ((a.detach().to(at::kDouble) - exact).abs().max() / exact.abs().max()).item<double>();
}

struct Case {
  std::int64_t rows = 2, channels = 64, side = 7, groups = 32;
  bool silu = true, modulated = true, channels_last = false;

  std::string text() const {
    return std::to_string(channels) + " channels, side " + std::to_string(side) + (silu ? ", SiLU" : "") +
           (modulated ? ", modulated" : "") + (channels_last ? ", channels last" : "");
  }
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const auto& [channels, groups, side] :
       {std::tuple<std::int64_t, std::int64_t, std::int64_t>{64, 32, 7}, {40, 4, 5}, {96, 32, 1}, {32, 32, 28}}) {
    if (side == 1 && channels == groups) continue;
    for (int bits = 0; bits < 8; ++bits)
      all.push_back({2, channels, side, groups, (bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0});
  }
  return all;
}

/// What a norm is given: x, weight, bias, scale and shift.
std::vector<at::Tensor> inputs(const Case& c, at::ScalarType type) {
  const auto options = at::TensorOptions(at::kDouble);
  const auto format = c.channels_last ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
  std::vector<at::Tensor> all{
      (1.5 * at::randn({c.rows, c.channels, c.side, c.side}, options) + 0.7).to(type).contiguous(format),
      (at::randn({c.channels}, options) + 1).to(at::kFloat), at::randn({c.channels}, options).to(at::kFloat)};
  if (c.modulated)
    for (int i = 0; i < 2; ++i) all.push_back(at::randn({c.rows, c.channels}, options).to(type));
  return all;
}

/// The definition, in double.
at::Tensor by_definition(const std::vector<at::Tensor>& in, const Case& c) {
  const at::Tensor grouped = in[0].reshape({c.rows, c.groups, -1});
  const at::Tensor centred = grouped - grouped.mean(2, true);
  at::Tensor y = (centred / (centred.square().mean(2, true) + 1e-5).sqrt()).view(in[0].sizes());
  const auto of_channels = [](const at::Tensor& t) { return t.reshape({t.dim() == 1 ? 1 : t.size(0), -1, 1, 1}); };
  y = y * of_channels(in[1]) + of_channels(in[2]);
  if (c.modulated) y = y * (1 + of_channels(in[3])) + of_channels(in[4]);
  return c.silu ? y * at::sigmoid(y) : y;
}
at::Tensor ours(const std::vector<at::Tensor>& in, const Case& c) {
  const GroupNormOptions options{.groups = c.groups, .eps = 1e-5, .silu = c.silu};
  return c.modulated ? group_norm(in[0], in[1], in[2], options, in[3], in[4])
                     : group_norm(in[0], in[1], in[2], options);
}

std::vector<at::Tensor> leaves(const std::vector<at::Tensor>& values, at::ScalarType type) {
  std::vector<at::Tensor> all;
  for (const at::Tensor& value : values) all.push_back(value.detach().to(type).clone().requires_grad_());
  return all;
}
std::vector<at::Tensor> same_leaves(const std::vector<at::Tensor>& values) {
  std::vector<at::Tensor> all;
  for (const at::Tensor& value : values) all.push_back(value.detach().clone().requires_grad_());
  return all;
}

/// y and its gradients, each against the definition's in double.
void compare(const Case& c, at::ScalarType type, double tolerance) {
  const auto values = inputs(c, type);
  const auto in = same_leaves(values), exact = leaves(values, at::kDouble);
  const at::Tensor y = ours(in, c), expected = by_definition(exact, c);
  EXPECT_EQ(y.scalar_type(), type) << c.text();
  EXPECT_EQ(y.strides(), in[0].strides()) << c.text();
  EXPECT_LE(difference(y, expected), tolerance) << c.text();
  const at::Tensor slope = at::randn(y.sizes()).to(type);
  const auto of_ours = torch::autograd::grad({y}, in, {slope});
  const auto of_definition = torch::autograd::grad({expected}, exact, {slope.to(at::kDouble)});
  for (std::size_t i = 0; i < in.size(); ++i) {
    EXPECT_EQ(of_ours[i].scalar_type(), in[i].scalar_type()) << c.text() << ", input " << i;
    EXPECT_LE(difference(of_ours[i], of_definition[i]), tolerance) << c.text() << ", input " << i;
  }
}

TEST(GroupNorm, IsItsDefinitionWithItsDerivatives) {
  at::manual_seed(1);
  for (const Case& c : cases()) {
    compare(c, at::kFloat, 1e-5);
    compare(c, at::kBFloat16, 1e-2);
    compare(c, at::kDouble, 2e-6);  // weight and bias are float
  }
}

TEST(GroupNorm, GradientsHaveGradients) {
  at::manual_seed(2);
  for (const bool modulated : {false, true}) {
    const Case c{.modulated = modulated};
    const auto values = inputs(c, at::kFloat);
    const auto second = [&](const std::vector<at::Tensor>& in, const at::Tensor& y) {
      const auto first = torch::autograd::grad({y.square().sum()}, in, {}, true, /*create_graph=*/true);
      return torch::autograd::grad({first[0].square().sum()}, in, {}, false, false, /*allow_unused=*/true);
    };
    const auto in = same_leaves(values), exact = leaves(values, at::kDouble);
    const auto of_ours = second(in, ours(in, c)), of_definition = second(exact, by_definition(exact, c));
    for (std::size_t i = 0; i < in.size(); ++i) EXPECT_LE(difference(of_ours[i], of_definition[i]), 1e-4) << i;
  }
}

/// What is made of x beside the norm is counted once.
TEST(GroupNorm, GradientsHaveGradientsWhereScaleIsOfX) {
  at::manual_seed(4);
  const Case c{};
  const auto second = [&](const at::Tensor& x, const std::vector<at::Tensor>& values, const auto& norm) {
    const at::Tensor scale = x.mean({2, 3}), shift = x.square().mean({2, 3});
    const at::Tensor y = norm({x, values[1], values[2], scale, shift}, c);
    const at::Tensor first = torch::autograd::grad({y.square().sum()}, {x}, {}, true, /*create_graph=*/true)[0];
    return torch::autograd::grad({first.square().sum()}, {x})[0];
  };
  const auto values = inputs(c, at::kFloat);
  const at::Tensor of_ours = second(same_leaves(values)[0], values, ours);
  const auto exact = leaves(values, at::kDouble);
  EXPECT_LE(difference(of_ours, second(exact[0], exact, by_definition)), 1e-4);
}

TEST(GroupNorm, RefusesWhatDoesNotFit) {
  const at::Tensor x = at::zeros({2, 6, 2, 2}), weight = at::ones({6}), bias = at::zeros({6});
  EXPECT_THROW(group_norm(x, weight, bias, {.groups = 4}), Error);
  EXPECT_THROW(group_norm(x, weight, bias, {.groups = 3}, at::zeros({1, 6}), at::zeros({1, 6})), Error);
  EXPECT_THROW(group_norm(x, weight, bias, {.groups = 3}, at::zeros({2, 6})), Error);
}

/// Neither whole rows in memory nor one type are asked for, and no rows are rows.
TEST(GroupNorm, TakesViewsOtherTypesAndNothing) {
  at::manual_seed(5);
  const Case c{};
  auto values = inputs(c, at::kFloat);
  const at::Tensor whole = at::randn({2, 64, 7, 14});
  values[0] = whole.slice(3, 0, 14, 2);
  values[3] = values[3].to(at::kBFloat16);
  EXPECT_LE(difference(ours(values, c), by_definition(leaves(values, at::kDouble), c)), 1e-5);
  std::vector<at::Tensor> none = values;
  for (const std::size_t i : {0, 3, 4}) none[i] = values[i].narrow(0, 0, 0);
  EXPECT_EQ(ours(none, {.rows = 0}).size(0), 0);
}

/// The variance of values far from 0 is that of their differences.
TEST(GroupNorm, TakesValuesFarFromZero) {
  at::manual_seed(3);
  Case c{.silu = false, .modulated = false};
  auto values = inputs(c, at::kFloat);
  values[0] = values[0] + 300;
  EXPECT_LE(difference(ours(values, c), by_definition(leaves(values, at::kDouble), c)), 1e-4);
}

TEST(GroupNorm, SiLUIsExactFarOut) {
  Case c{.rows = 1, .channels = 32, .side = 4, .groups = 1, .silu = true, .modulated = false};
  auto values = inputs(c, at::kFloat);
  for (const double factor : {1e-4, 1.0, 40.0, 1e4}) {
    values[1] = at::full({32}, factor, at::kFloat);
    const auto in = same_leaves(values), exact = leaves(values, at::kDouble);
    const at::Tensor y = ours(in, c), expected = by_definition(exact, c);
    EXPECT_TRUE(at::allclose(y.to(at::kDouble), expected, 1e-5, 1e-6)) << factor;
    EXPECT_LE(difference(torch::autograd::grad({y.sum()}, {in[2]})[0],
                         torch::autograd::grad({expected.sum()}, {exact[2]})[0]),
              1e-5)
        << factor;
  }
}

/// What is no number stays so, in the group that it is in and in no other.
TEST(GroupNorm, KeepsWhatIsNoNumber) {
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    for (const bool last : {false, true}) {
      const Case c{.rows = 2, .channels = 64, .side = 3, .groups = 32, .channels_last = last};
      auto values = inputs(c, type);
      values[0][1][3][1][1] = std::numeric_limits<double>::quiet_NaN();
      const at::Tensor lost = ours(values, c).isnan().sum({2, 3});
      EXPECT_EQ(lost.sum().item<std::int64_t>(), 18) << last;
      EXPECT_EQ(lost[1][2].item<std::int64_t>(), 9) << last;
    }
  }
}

/// A row's digits don't depend on the rows beside it.
TEST(GroupNorm, RowsAreOnTheirOwn) {
  const Case c{.rows = 5};
  const auto in = same_leaves(inputs(c, at::kFloat));
  const at::Tensor y = ours(in, c);
  const auto alone = [&](std::int64_t row) {
    std::vector<at::Tensor> of_row = in;
    for (const std::size_t i : {0, 3, 4}) of_row[i] = in[i].narrow(0, row, 1);
    return ours(of_row, {.rows = 1});
  };
  for (std::int64_t row = 0; row < 5; ++row) EXPECT_TRUE(at::equal(y.narrow(0, row, 1), alone(row))) << row;
}

}  // namespace
}  // namespace couplet
