#include "method/models/tarflow.h"

#include "tests/method/reference.h"

#include <ATen/autocast_mode.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/utils.h>

#include <numbers>

namespace couplet::testing {
namespace {

const TarFlowOptions small{.in_channels = 2,
                           .image_size = 6,
                           .patch = 2,
                           .channels = 24,
                           .blocks = 3,
                           .layers = {1, 2, 1},
                           .head_size = 8,
                           .num_classes = 4,
                           .nvp = true};

TarFlowOptions changed(void (*change)(TarFlowOptions&)) {
  auto options = small;
  change(options);
  return options;
}

/// A model whose maps are not the constants that it starts with.
TarFlow trained(const TarFlowOptions& options) {
  auto model = make_tarflow(options, 5);
  const at::NoGradGuard no_grad;
  for (auto& block : model->blocks()) block->proj_out->weight.normal_(0, 0.04);
  if (!options.nvp) model->update_prior(at::rand({options.tokens(), options.token_size()}) * 8);
  return model;
}

at::Tensor images(const TarFlowOptions& o, std::int64_t rows) {
  return at::randn({rows, o.in_channels, o.image_size, o.image_size}).clamp(-2, 2);
}

class TarFlowVariants : public ::testing::TestWithParam<TarFlowOptions> {};

TEST_P(TarFlowVariants, ReverseInvertsForward) {
  auto model = trained(GetParam());
  const auto x = images(GetParam(), 5);
  const auto y = at::tensor({0, 3, -1, 2, -1}, at::kLong);
  const at::NoGradGuard no_grad;
  const auto z = model->standardised(model(x, y).z);
  EXPECT_LE(difference(model->reverse(z, y), x), sample_tolerance);
  EXPECT_GT(difference(z, model->standardised(model(x).z)), GetParam().num_classes > 0 ? 1e-4 : -1);
}

TEST_P(TarFlowVariants, LogdetIsThatOfTheJacobian) {
  auto model = trained(GetParam());
  model->to(at::kDouble);
  const auto x = images(GetParam(), 1).to(at::kDouble).requires_grad_();
  const auto output = model(x, at::tensor({1}, at::kLong));
  const auto values = x.numel();
  std::vector<at::Tensor> rows;
  for (std::int64_t i = 0; i < values; ++i) {
    rows.push_back(torch::autograd::grad({output.z.flatten()[i]}, {x}, {}, /*retain_graph=*/true).front().flatten());
  }
  const auto expected = std::get<1>(at::linalg_slogdet(at::stack(rows))) / static_cast<double>(values);
  EXPECT_LE(difference(output.logdet[0], expected), 1e-9);
}

TEST_P(TarFlowVariants, DenoisingStepIsTheGradientOfTheLogDensity) {
  auto model = trained(GetParam());
  model->to(at::kDouble);
  const auto x = images(GetParam(), 3).to(at::kDouble);
  const auto y = at::tensor({1, -1, 0}, at::kLong);
  const double noise_std = 0.3, h = 1e-5;
  const auto step = denoise(model, x, y, noise_std) - x;
  EXPECT_FALSE(step.requires_grad());
  const at::NoGradGuard no_grad;
  const auto log_density = [&](const at::Tensor& at_x) {
    const auto values = static_cast<double>(at_x[0].numel());
    return model->negative_log_likelihood(model(at_x, y)) * -values;  // of the joint density, [N]
  };
  // Along one random direction a row: rows do not depend on each other.
  const auto direction = at::randn_like(x);
  const auto slope = (log_density(x + h * direction) - log_density(x - h * direction)) / (2 * h);
  const auto expected = noise_std * noise_std * slope;
  EXPECT_LE(difference((step * direction).sum({1, 2, 3}), expected), 1e-6 * expected.abs().max().item<double>());
}

TEST_P(TarFlowVariants, ReverseUnderAutocastIsClose) {
  auto model = trained(GetParam());
  const auto& o = GetParam();
  const auto z = at::randn({4, o.tokens(), o.token_size()}) * 0.5;
  const auto y = at::tensor({0, 1, 2, 3}, at::kLong);
  const auto exact = model->reverse(z, y, {.guidance = 0.5});
  at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
  at::autocast::set_autocast_enabled(at::kCPU, true);
  const auto rounded = model->reverse(z, y, {.guidance = 0.5});
  at::autocast::set_autocast_enabled(at::kCPU, false);
  at::autocast::clear_cache();
  EXPECT_EQ(rounded.scalar_type(), at::kFloat);
  EXPECT_GT(difference(rounded, exact), 0);
  EXPECT_LE((rounded - exact).abs().mean().item<double>(), 0.05);
}

INSTANTIATE_TEST_SUITE_P(Sizes, TarFlowVariants,
                         ::testing::Values(small, changed([](TarFlowOptions& o) { o.nvp = false; }),
                                           changed([](TarFlowOptions& o) { o.num_classes = 0; }),
                                           changed([](TarFlowOptions& o) { o.patch = 3; })));

TEST(TarFlow, LikelihoodIsThePriorsDensityTimesTheVolume) {
  auto model = trained(changed([](TarFlowOptions& o) { o.nvp = false; }));
  const auto var = named_tensors(*model).at("var");
  const auto output = model(images(small, 3), at::tensor({0, 1, 2}, at::kLong));
  const auto log_prior = -0.5 * ((output.z * output.z / var) + at::log(2 * std::numbers::pi * var)).mean({1, 2});
  EXPECT_LE(difference(model->negative_log_likelihood(output), -log_prior - output.logdet), 1e-5);
}

TEST(TarFlow, PriorFollowsTheMeanSquareAtRateOneTenth) {
  auto model = make_tarflow(changed([](TarFlowOptions& o) { o.nvp = false; }), 1);
  const auto mean_square = at::rand({small.tokens(), small.token_size()}) * 3;
  model->update_prior(mean_square);
  EXPECT_LE(difference(named_tensors(*model).at("var"), 0.9 + 0.1 * mean_square), 1e-6);
  auto nvp = make_tarflow(small, 1);
  nvp->update_prior(mean_square);
  EXPECT_EQ(difference(named_tensors(*nvp).at("var"), at::ones_like(mean_square)), 0);
}

TEST(TarFlow, GuidanceOfRowsWithoutLabelChangesNothing) {
  auto model = trained(small);
  const auto z = at::randn({3, small.tokens(), small.token_size()});
  const auto none = at::full({3}, -1, at::kLong);
  const auto plain = model->reverse(z);
  EXPECT_LE(difference(model->reverse(z, none, {.guidance = 3}), plain), sample_tolerance);
  EXPECT_FALSE(plain.requires_grad());
}

TEST(TarFlow, SeedDecidesTheWeights) {
  const auto hash = [](std::uint64_t seed) { return tensors_hash(named_tensors(*make_tarflow(small, seed))); };
  EXPECT_EQ(hash(3), hash(3));
  EXPECT_NE(hash(3), hash(4));
}

TEST(TarFlow, RefusesSizesThatDoNotFit) {
  const auto message = [](void (*change)(TarFlowOptions&)) -> std::string {
    try {
      make_tarflow(changed(change), 1);
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), exit_usage);
      return error.what();
    }
    return "accepted";
  };
  EXPECT_EQ(message([](TarFlowOptions& o) { o.channels = 100; }),
            "teacher.channels = 100 is not a multiple of teacher.head-size = 8: the next one is 104");
  EXPECT_NE(message([](TarFlowOptions& o) { o.patch = 4; }).find("teacher.patch = 4"), std::string::npos);
  EXPECT_NE(message([](TarFlowOptions& o) { o.layers = {0}; }).find("teacher.layers = 0"), std::string::npos);
  const std::string two = message([](TarFlowOptions& o) { o.layers = {1, 2}; });
  EXPECT_NE(two.find("teacher.layers = 1 2: layers of 2 blocks, but teacher.blocks = 3"), std::string::npos) << two;
}

}  // namespace
}  // namespace couplet::testing
