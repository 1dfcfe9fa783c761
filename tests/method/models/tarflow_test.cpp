#include "method/models/tarflow.h"

#include "tests/method/reference.h"

#include <ATen/autocast_mode.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/utils.h>

#include <cmath>
#include <numbers>
#include <utility>
#include <vector>

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
                                           changed([](TarFlowOptions& o) { o.patch = 3; }),
                                           changed([](TarFlowOptions& o) { o.clip_scale = 0.05; }),
                                           changed([](TarFlowOptions& o) {
                                             o.clip_scale = 0.1;
                                             o.clip_shift = 0.2;
                                           }),
                                           changed([](TarFlowOptions& o) {
                                             o.nvp = false;
                                             o.clip_shift = 0.1;
                                           })));

TEST(TarFlow, BoundsHoldWhateverTheLayersSay) {
  const double scale = 0.3, shift = 0.7;
  auto options = small;
  options.blocks = 1;
  options.layers = {1};
  auto model = trained(options);
  const auto x = images(options, 4);
  const at::NoGradGuard no_grad;
  auto& block = model->blocks()[0];
  const auto affine = at::randn({5, 2 * options.token_size()}) * 10;
  EXPECT_TRUE(block->bounded(affine).is_same(affine)) << "no bounds by default";
  const auto free = model(x);
  block->clip_scale = scale;
  block->clip_shift = shift;
  const auto bounded = block->bounded(affine);
  EXPECT_LE(bounded.narrow(1, 0, options.token_size()).abs().max().item<double>(), scale + 1e-6);
  EXPECT_LE(bounded.narrow(1, options.token_size(), options.token_size()).abs().max().item<double>(), shift + 1e-6);
  EXPECT_GT(bounded.abs().max().item<double>(), 0.99 * shift);
  EXPECT_LE(difference(block->bounded(affine * 1e-4), affine * 1e-4), 1e-6) << "small values stay what they are";
  EXPECT_GT(difference(model(x).z, free.z), 1e-4);
  block->proj_out->weight.normal_(0, 10);
  EXPECT_LE(model(x).logdet.abs().max().item<double>(), scale);
  EXPECT_LE(difference(model->reverse(model(x).z), x), sample_tolerance);
  model->to(at::kDouble);
  const auto exact = x.to(at::kDouble);
  EXPECT_LE(difference(model->reverse(model(exact).z), exact), 1e-5);
}

/// a and b of a single block's second token, by what the forward pass makes of it at 0 and at 1. [N, D] each.
std::pair<at::Tensor, at::Tensor> affine_of(TarFlow& model, const at::Tensor& x, const at::Tensor& y) {
  const auto patch = model->options().patch;
  const auto z_at = [&](double value) {
    auto changed = x.clone();
    changed.narrow(2, 0, patch).narrow(3, patch, patch).fill_(value);
    return model(changed, y).z.select(1, 1);
  };
  const auto at_0 = z_at(0), shrunk = z_at(1) - at_0;
  return {-shrunk.log(), -at_0 / shrunk};
}

TEST(TarFlow, GuidanceIsOfBoundedMaps) {
  auto options = small;
  options.blocks = 1;
  options.layers = {2};
  options.clip_scale = 0.4;
  options.clip_shift = 0.6;
  auto model = trained(options);
  const at::NoGradGuard no_grad;
  model->blocks()[0]->proj_out->weight.normal_(0, 0.5);
  model->blocks()[0]->class_embed.normal_();
  const auto z = at::randn({3, options.tokens(), options.token_size()});
  const auto y = at::tensor({0, 1, 3}, at::kLong);
  const double guidance = 1.5;
  const auto x = model->reverse(z, y, {.guidance = guidance});
  const auto [a, b] = affine_of(model, x, y);
  const auto [free_a, free_b] = affine_of(model, x, {});
  const auto token = model->options().patch;
  const auto found = x.narrow(2, 0, token).narrow(3, token, token).flatten(1);
  const auto expected = z.select(1, 1) * (a + guidance * (a - free_a)).exp() + b + guidance * (b - free_b);
  ASSERT_GT(difference(a, free_a), 0.05);
  EXPECT_LE(difference(found, expected), sample_tolerance);
}

TEST(TarFlow, DropsByThePositionOfARow) {
  for (const bool recompute : {false, true}) {
    auto options = small;
    options.recompute = recompute;
    auto plain = trained(options);
    options.dropout = 0.3;
    auto model = trained(options);
    const auto x = images(options, 3);
    const auto y = at::tensor({1, -1, 2}, at::kLong), places = at::tensor({70, 71, 72}, at::kLong);
    const auto dropped = model(x, y, places).z;
    EXPECT_TRUE(dropped.equal(model(x, y, places).z));
    EXPECT_TRUE(model(x, y).z.equal(plain(x, y).z)) << "without positions nothing is dropped";
    EXPECT_GT(difference(dropped, plain(x, y).z), 1e-3);
    EXPECT_GT(difference(dropped, model(x, y, places + 3).z), 1e-3);
    const auto alone = model(x.narrow(0, 1, 1), y.narrow(0, 1, 1), places.narrow(0, 1, 1)).z;
    EXPECT_LE(difference(alone, dropped.narrow(0, 1, 1)), 1e-5) << "as on another number of ranks";
  }
}

TEST(TarFlow, DropsValuesAtItsRateAndEachBranchItsOwn) {
  auto options = small;
  options.dropout = 0.2;
  auto model = make_tarflow(options, 7);
  const auto values = at::ones({40, 9, 24});
  const auto places = at::arange(40, at::kLong);
  std::vector<at::Tensor> masks;
  for (auto& block : model->blocks())
    for (auto& layer : block->layers)
      for (const auto* draws : {&layer->attention_dropout, &layer->mlp_dropout})
        masks.push_back(draws->mask(values, places));
  ASSERT_EQ(masks.size(), 8U);  // two a layer
  const auto all = at::stack(masks);
  const double rate = (all == 0).to(at::kDouble).mean().item<double>();
  EXPECT_NEAR(rate, 0.2, 3 * std::sqrt(0.2 * 0.8 / static_cast<double>(all.numel())));
  for (std::size_t i = 0; i < masks.size(); ++i)
    for (std::size_t j = 0; j < i; ++j) EXPECT_FALSE(masks[i].equal(masks[j])) << i << " " << j;
}

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
  const std::string scale = message([](TarFlowOptions& o) {
    o.nvp = false;
    o.clip_scale = 2;
  });
  EXPECT_NE(scale.find("teacher.clip-scale = 2 with teacher.variant = vp"), std::string::npos) << scale;
  const std::string many = message([](TarFlowOptions& o) {
    o.layers = {200};
    o.dropout = 0.1;
  });
  EXPECT_NE(many.find("teacher.dropout = 0.1 with 600 layers"), std::string::npos) << many;
}

}  // namespace
}  // namespace couplet::testing
