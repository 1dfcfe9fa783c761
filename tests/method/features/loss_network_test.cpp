// Networks that a student's loss compares images by.
#include "method/features/loss_network.h"

#include "method/features/feature_network.h"
#include "method/features/open_network.h"
#include "storage/error.h"

#include <gtest/gtest.h>
#include <torch/script.h>
#include <torch/types.h>
#include <torch/utils.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

namespace couplet {
namespace {

/// The mean over places of Σ_c (φ̂(a) - φ̂(b))², of maps of one row: [C, places], in double precision.
double level_distance(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor x = a.flatten(1).to(at::kDouble), y = b.flatten(1).to(at::kDouble);
  double sum = 0;
  for (std::int64_t place = 0; place < x.size(1); ++place) {
    double lengths[2] = {1e-6, 1e-6};
    for (std::int64_t c = 0; c < x.size(0); ++c) {
      lengths[0] += std::pow(x[c][place].item<double>(), 2);
      lengths[1] += std::pow(y[c][place].item<double>(), 2);
    }
    for (std::int64_t c = 0; c < x.size(0); ++c)
      sum += std::pow(
          x[c][place].item<double>() / std::sqrt(lengths[0]) - y[c][place].item<double>() / std::sqrt(lengths[1]), 2);
  }
  return sum / static_cast<double>(x.size(1));
}

TEST(FeatureDistance, IsTheMeanOverLevelsOfNormalisedDifferences) {
  torch::manual_seed(2);
  const std::vector<at::Tensor> a{torch::randn({2, 3, 4, 5}), torch::randn({2, 6})};
  const std::vector<at::Tensor> b{torch::randn({2, 3, 4, 5}), torch::randn({2, 6})};
  const at::Tensor found = feature_distance(a, b);
  for (std::int64_t row = 0; row < 2; ++row) {
    const double expected =
        (level_distance(a[0][row], b[0][row]) + level_distance(a[1][row].unsqueeze(1), b[1][row].unsqueeze(1))) / 2;
    EXPECT_NEAR(found[row].item<double>(), expected, 1e-5);
  }
  EXPECT_EQ(feature_distance(a, a).abs().max().item<double>(), 0);
  EXPECT_TRUE(feature_distance({a[0] * 7}, {a[0]}).lt(1e-4).all().item<bool>()) << "lengths do not count";
}

TEST(LossNetwork, TheClassifierComparesEachOfItsLevels) {
  torch::manual_seed(3);
  for (const bool smooth : {false, true}) {
    Classifier classifier = make_classifier({.image_size = 28, .channels = 4, .dimension = 6, .smooth = smooth}, 5);
    const LossNetwork network = make_loss_network(classifier, "second");
    const at::Tensor images = torch::rand({3, 1, 28, 28}) * 2 - 1;
    const at::Tensor made = (torch::rand({3, 1, 28, 28}) * 2 - 1).requires_grad_(true);
    const auto levels = classifier->levels(images), others = classifier->levels(made);
    ASSERT_EQ(levels.size(), 3);
    EXPECT_EQ(levels[0].sizes(), at::IntArrayRef({3, 4, 14, 14}));
    EXPECT_EQ(levels[1].sizes(), at::IntArrayRef({3, 8, 7, 7}));
    EXPECT_TRUE(levels[2].equal(classifier->features(images)));
    const at::Tensor found = network.distance(made, images);
    for (std::int64_t row = 0; row < 3; ++row) {
      double expected = 0;
      for (std::size_t i = 0; i < 3; ++i) {
        const auto places = [&](const at::Tensor& of) { return of[row].reshape({of.size(1), -1}); };
        expected += level_distance(places(others[i]), places(levels[i])) / 3;
      }
      EXPECT_NEAR(found[row].item<double>(), expected, 1e-5);
    }
    found.sum().backward();
    EXPECT_GT(made.grad().abs().min().item<double>(), smooth ? 0 : -1) << "gradients reach every pixel";
    for (const at::Tensor& weight : classifier->parameters()) EXPECT_FALSE(weight.grad().defined());
    EXPECT_EQ(network.distance(images, images).abs().max().item<double>(), 0);
  }
}

class LossScript : public ::testing::Test {
protected:
  std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("loss_network_" + std::to_string(::getpid()) + ".pt");
  void TearDown() override { std::filesystem::remove(path); }

  void save(const std::string& source) {
    torch::jit::Module module("Network");
    torch::manual_seed(4);
    module.register_parameter("weight", torch::randn({2, 3, 3, 3}), false);
    module.define(source);
    module.save(path.string());
  }
  LossNetwork open(const std::string& range = "signed", std::vector<std::int64_t> shape = {3, 8, 8}) {
    return make_loss_network(LossProgram{path, range}, shape, at::kCPU);
  }
  std::string refusal(std::vector<std::int64_t> shape = {3, 8, 8}) {
    try {
      open("signed", std::move(shape));
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), exit_usage);
      EXPECT_NE(std::string(error.what()).find(path.filename().string()), std::string::npos) << error.what();
      return error.what();
    }
    return "accepted";
  }
};

#define EXPECT_SAYS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

TEST_F(LossScript, LevelsAreTheTensorsOfItsOutput) {
  save(R"(
    def forward(self, x):
        maps = torch.conv2d(x, self.weight)
        return maps, x.flatten(1)[:, :5]
)");
  torch::manual_seed(1);
  const at::Tensor a = (torch::rand({2, 3, 8, 8}) * 2 - 1).requires_grad_(true), b = torch::rand({2, 3, 8, 8}) * 2 - 1;
  torch::manual_seed(4);
  const at::Tensor weight = torch::randn({2, 3, 3, 3});
  for (const auto& [range, factor, shift] :
       {std::tuple{"signed", 1.0, 0.0}, {"unit", 0.5, 0.5}, {"bytes", 127.5, 127.5}}) {
    const auto levels = [&, by = factor, plus = shift](const at::Tensor& x) {
      const at::Tensor seen = x * by + plus;
      return std::vector<at::Tensor>{torch::conv2d(seen, weight), seen.flatten(1).narrow(1, 0, 5)};
    };
    const at::Tensor found = open(range).distance(a, b);
    EXPECT_TRUE(found.allclose(feature_distance(levels(a), levels(b)), 1e-4, 1e-6)) << range;
    EXPECT_TRUE(found.requires_grad());
  }
}

TEST_F(LossScript, GreyImagesAreGivenAsRgbWhereItTakesNoOthers) {
  save("def forward(self, x):\n    return torch.conv2d(x, self.weight)\n");
  const at::Tensor a = torch::rand({2, 1, 8, 8}), b = torch::rand({2, 1, 8, 8});
  const at::Tensor grey = open("signed", {1, 8, 8}).distance(a, b);
  EXPECT_TRUE(grey.allclose(open().distance(a.expand({2, 3, 8, 8}), b.expand({2, 3, 8, 8})), 1e-5, 1e-7));
}

TEST_F(LossScript, WhatCannotBeLearntByIsRefused) {
  save("def forward(self, x):\n    return x.flatten(1).detach()\n");
  EXPECT_SAYS(refusal(), "no gradient flows");
  save("def forward(self, x):\n    return x.sum()\n");
  EXPECT_SAYS(refusal(), "expected features of each image");
  save("def forward(self, x):\n    return 3\n");
  EXPECT_SAYS(refusal(), "returns no tensor");
  save("def forward(self, x):\n    return torch.conv2d(x, self.weight)\n");
  EXPECT_SAYS(refusal({2, 8, 8}), "does not take float32 images of 2x8x8");
  std::filesystem::remove(path);
  EXPECT_SAYS(refusal(), "is no TorchScript program");
}

TEST_F(LossScript, TheSameWeightsInAnotherFileAreKnown) {
  save("def forward(self, x):\n    return torch.conv2d(x, self.weight)\n");
  const LossNetwork loss = open();
  save("def forward(self, x):\n    return torch.conv2d(x.float() / 255, self.weight).flatten(1)\n");
  const auto scorer = make_feature_network({path, {}}, at::kCPU);
  EXPECT_NE(scorer->hash(), loss.hash) << "another program";
  EXPECT_EQ(scorer->weights(), loss.weights);
  EXPECT_TRUE(share_weights(loss.weights, scorer->weights()));
  const Classifier one = make_classifier({}, 1), two = make_classifier({}, 2);
  EXPECT_EQ(weight_hashes(one->parameters()), make_feature_network(one, "one", at::kCPU)->weights());
  EXPECT_FALSE(share_weights(weight_hashes(one->parameters()), weight_hashes(two->parameters())));
}

// A program of another form: without its last layers, in doubles, with tensors of its own.
TEST(SharedWeights, AreKnownByHalfOfTheSmallerNetwork) {
  at::manual_seed(1);
  const at::Tensor a = at::randn({2, 3}), b = at::randn({4, 2, 3, 3}), c = at::randn({5, 5}), d = at::randn({6, 2});
  const at::Tensor shift = at::zeros({3});
  const auto share = [](const std::vector<at::Tensor>& one, const std::vector<at::Tensor>& other) {
    return share_weights(weight_hashes(one), weight_hashes(other));
  };
  EXPECT_TRUE(share({a, b, shift}, {b.to(at::kDouble), c, a, d}));
  EXPECT_TRUE(share({a, b}, {b, c, d, d + 1})) << "half of two";
  EXPECT_FALSE(share({a, b, c}, {a, b + 1, c + 1, d})) << "one of three";
  EXPECT_FALSE(share({a, shift}, {b, shift})) << "vectors say nothing";
  EXPECT_FALSE(share({}, {a})) << "frozen programs have none";
  EXPECT_FALSE(share({}, {}));
}

}  // namespace
}  // namespace couplet
