#include "method/models/noise_classifier.h"

#include "method/metrics/density_ratio.h"
#include "pipeline/tensor/weights.h"
#include "tests/method/reference.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/optim/adamw.h>
#include <torch/utils.h>

#include <cmath>
#include <functional>
#include <numbers>

namespace couplet::testing {
namespace {

using Draw = std::function<at::Tensor(const at::Tensor& labels)>;

/// Trains a classifier to tell what is drawn from N(0, I).
NoiseClassifier trained(const NoiseClassifierOptions& options, const Draw& draw, int steps) {
  NoiseClassifier model = make_noise_classifier(options, 1);
  torch::manual_seed(7);
  torch::optim::AdamW optimizer(model->parameters(), torch::optim::AdamWOptions(1e-2));
  for (int step = 0; step < steps; ++step) {
    for (auto& group : optimizer.param_groups()) group.options().set_lr(1e-2 * (1 - step / (steps + 1.0)));
    const at::Tensor labels = at::randint(options.num_classes, {128}, at::kLong), z = draw(labels);
    optimizer.zero_grad();
    model->errors(z, at::randn_like(z), labels).mean().backward();
    optimizer.step();
  }
  model->eval();
  return model;
}

/// Figures of rows that it has not seen.
std::pair<AreaUnderCurve, DivergenceBound> judged(NoiseClassifier& model, const Draw& draw) {
  const torch::NoGradGuard no_grad;
  const at::Tensor labels = at::arange(4000).remainder(model->options().num_classes), z = draw(labels);
  const at::Tensor a = model->forward(z, labels).to(at::kDouble),
                   b = model->forward(at::randn_like(z), labels).to(at::kDouble);
  return {area_under_curve(a, b), divergence_bound(a, b)};
}

const NoiseClassifierOptions small{.in_channels = 1, .size = 4, .channels = 4, .num_classes = 3};

TEST(NoiseClassifier, BeginsWithoutAnOpinion) {
  for (const std::int64_t side : {1, 4, 28, 33}) {
    NoiseClassifier model = make_noise_classifier({.in_channels = 2, .size = side, .channels = 4, .num_classes = 5}, 1);
    const at::Tensor z = at::randn({6, 2, side, side}), labels = at::arange(6).remainder(5);
    EXPECT_EQ(model->forward(z, labels).abs().max().item<double>(), 0);
    EXPECT_NEAR(model->errors(z, at::randn_like(z), labels).mean().item<double>(), std::numbers::ln2, 1e-6);
    EXPECT_EQ(parameter_count(model->options()), couplet::parameter_count(*model));
  }
}

TEST(NoiseClassifier, FindsTheShiftOfAGaussian) {
  // z ~ N(δ u, I): an area of Φ(δ/√2), a divergence of δ²/2.
  const double shift = 1;
  const at::Tensor direction = at::full({1, 4, 4}, shift / 4);
  const Draw draw = [&](const at::Tensor& labels) { return at::randn({labels.size(0), 1, 4, 4}) + direction; };
  NoiseClassifier model = trained(small, draw, 400);
  const auto [area, bound] = judged(model, draw);
  EXPECT_NEAR(area.value, 0.5 * std::erfc(-shift / 2), 3 * area.standard_error + 0.005);
  EXPECT_NEAR(bound.value, shift * shift / 2, 3 * bound.standard_error + 0.02);
}

TEST(NoiseClassifier, FindsNothingInNormalNoise) {
  const Draw draw = [](const at::Tensor& labels) { return at::randn({labels.size(0), 1, 4, 4}); };
  NoiseClassifier model = trained(small, draw, 100);
  const auto [area, bound] = judged(model, draw);
  EXPECT_NEAR(area.value, 0.5, 3 * area.standard_error);
  EXPECT_LT(bound.value, 3 * bound.standard_error);
}

TEST(NoiseClassifier, KnowsTheClass) {
  // Shifts of the classes that cancel each other.
  const at::Tensor shifts = at::tensor({-0.5, 0.0, 0.5}, at::kFloat).view({3, 1, 1, 1});
  const Draw draw = [&](const at::Tensor& labels) {
    return at::randn({labels.size(0), 1, 4, 4}) + shifts.index_select(0, labels);
  };
  NoiseClassifier model = trained(small, draw, 400);
  const auto [area, bound] = judged(model, draw);
  EXPECT_GT(bound.value, 0.5);
  EXPECT_LT(bound.value, 2 * 16 * 0.25 / 2 / 3 + 3 * bound.standard_error) << "the divergence itself";
}

TEST(NoiseClassifier, RowsAreTheirOwnAndRecomputingChangesNothing) {
  const NoiseClassifierOptions options{.in_channels = 1, .size = 20, .channels = 4, .num_classes = 3};
  NoiseClassifierOptions again = options;
  again.recompute = true;
  NoiseClassifier model = make_noise_classifier(options, 3), twin = make_noise_classifier(again, 3);
  for (NoiseClassifier* one : {&model, &twin})
    for (at::Tensor& parameter : (*one)->parameters()) {
      const torch::NoGradGuard no_grad;
      torch::manual_seed(4);
      parameter.normal_(0, 0.1);
    }
  const at::Tensor z = at::randn({5, 1, 20, 20}), labels = at::arange(5).remainder(3);
  EXPECT_LE(
      difference(model->forward(z.narrow(0, 2, 1), labels.narrow(0, 2, 1)), model->forward(z, labels).narrow(0, 2, 1)),
      1e-5);
  EXPECT_TRUE(at::equal(model->forward(z, labels), twin->forward(z, labels)));
}

}  // namespace
}  // namespace couplet::testing
