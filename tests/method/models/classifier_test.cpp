#include "method/models/classifier.h"

#include "pipeline/tensor/weights.h"
#include "tests/method/reference.h"

#include <gtest/gtest.h>
#include <torch/nn/functional/loss.h>
#include <torch/optim/adamw.h>

namespace couplet::testing {
namespace {

TEST(Classifier, FeaturesAreWhatTheLastLayerSees) {
  for (const std::int64_t side : {8, 28, 32, 64}) {
    const ClassifierOptions options{
        .in_channels = 3, .image_size = side, .channels = 4, .dimension = 12, .num_classes = 5};
    auto model = make_classifier(options, 1);
    const auto x = at::randn({6, 3, side, side});
    const auto features = model->features(x);
    EXPECT_EQ(features.sizes(), at::IntArrayRef({6, 12}));
    EXPECT_EQ(difference(model->logits(features), model(x)), 0);
    EXPECT_LE(difference(model->features(x.narrow(0, 2, 1)), features.narrow(0, 2, 1)), 1e-5) << "depends on its batch";
  }
}

TEST(Classifier, LearnsToTellPatternsApart) {
  const ClassifierOptions options{.in_channels = 1, .image_size = 12, .channels = 8, .dimension = 16, .num_classes = 4};
  auto model = make_classifier(options, 1);
  torch::optim::AdamW optimizer(model->parameters(), torch::optim::AdamWOptions(5e-3));
  const auto patterns = at::randn({4, 1, 12, 12});
  double loss_value = 0;
  for (int step = 0; step < 60; ++step) {
    const auto y = at::randint(4, {32}, at::kLong);
    const auto x = patterns.index_select(0, y) + 0.5 * at::randn({32, 1, 12, 12});
    const auto loss = at::cross_entropy_loss(model(x), y);
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
    loss_value = loss.item<double>();
  }
  EXPECT_LT(loss_value, 0.1);
}

TEST(Classifier, SeedDecidesTheWeights) {
  const auto hash = [](std::uint64_t seed) { return tensors_hash(named_tensors(*make_classifier({}, seed))); };
  EXPECT_EQ(hash(3), hash(3));
  EXPECT_NE(hash(3), hash(4));
}

}  // namespace
}  // namespace couplet::testing
