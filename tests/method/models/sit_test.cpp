#include "method/models/sit.h"

#include "tests/method/reference.h"

#include <gtest/gtest.h>

#include <cmath>

namespace couplet::testing {
namespace {

const SiTOptions small{.in_channels = 2,
                       .image_size = 6,
                       .patch = 2,
                       .channels = 24,
                       .depth = 2,
                       .heads = 3,
                       .num_classes = 4,
                       .mlp_ratio = 4,
                       .learn_sigma = false};

/// A model in which every weight matters: at first its modulations and output are zero.
SiT trained(const SiTOptions& options) {
  auto model = make_sit(options, 5);
  const at::NoGradGuard no_grad;
  for (auto& parameter : model->parameters()) parameter.normal_(0, 0.15);
  return model;
}

struct Inputs {
  at::Tensor x = at::randn({4, 2, 6, 6}), t = at::rand({4}), y = at::tensor({0, 3, 1, 2}, at::kLong);
};

TEST(SiT, PositionsAreSinesThenCosinesOfColumnThenRow) {
  const std::int64_t channels = 24, side = 5, half = channels / 2, quarter = channels / 4;
  const auto positions = sincos_positions(channels, side);
  for (std::int64_t token = 0; token < side * side; ++token) {
    for (std::int64_t k = 0; k < channels; ++k) {
      const auto place = static_cast<double>(k < half ? token % side : token / side);
      const auto wave = static_cast<double>(k % quarter) / static_cast<double>(quarter);
      const auto angle = place / std::pow(10000.0, wave);
      const auto expected = k % half < quarter ? std::sin(angle) : std::cos(angle);
      EXPECT_NEAR(positions[0][token][k].item<double>(), expected, 1e-6) << token << " " << k;
    }
  }
}

TEST(SiT, StartsAsTheZeroField) {
  const Inputs in;
  auto model = make_sit(small, 1);
  EXPECT_EQ(model(in.x, in.t, in.y).abs().max().item<double>(), 0);
}

TEST(SiT, GuidanceExtrapolatesFromTheUnlabelledField) {
  const Inputs in;
  auto model = trained(small);
  const auto labelled = model(in.x, in.t, in.y);
  const auto unlabelled = model(in.x, in.t, at::full_like(in.y, small.num_classes));
  for (const double scale : {0.0, 1.0, 1.5, 4.0}) {
    EXPECT_LE(difference(model->guided_velocity(in.x, in.t, in.y, scale), unlabelled + scale * (labelled - unlabelled)),
              forward_tolerance);
  }
  EXPECT_GT(difference(labelled, unlabelled), 1e-3);
  EXPECT_EQ(difference(model(in.x, in.t, at::full_like(in.y, -1)), unlabelled), 0);
}

TEST(SiT, ReversedTimeIsAnInvolutionOnWeightsAndFlipsTheField) {
  const Inputs in;
  auto model = trained(small), reversed = make_sit(small, 2);
  const auto own = named_tensors(*model);
  load_tensors(*reversed, reverse_time(own), "reversed");
  EXPECT_LE(difference(reversed(in.x, 1 - in.t, in.y), -model(in.x, in.t, in.y)), forward_tolerance);
  // What `couplet export` writes comes back through student.init.
  const auto twice = reverse_time(reverse_time(own)), imported = import_sit(reverse_time(own));
  for (const auto& [name, tensor] : own) {
    EXPECT_LE(difference(twice.at(name), tensor), 1e-6) << name;
    EXPECT_LE(difference(imported.at(name), tensor), 1e-6) << name;
  }
}

TEST(SiT, ImportKeepsTheFieldOfWeightsThatAlsoLearnSigma) {
  const Inputs in;
  auto options = small;
  options.learn_sigma = true;
  auto published = trained(options), ours = make_sit(small, 2);
  load_tensors(*ours, import_sit(named_tensors(*published)), "published");
  EXPECT_LE(difference(ours(in.x, 1 - in.t, in.y), -published(in.x, in.t, in.y)), forward_tolerance);
}

TEST(SiT, SeedDecidesTheWeights) {
  const auto hash = [](std::uint64_t seed) { return tensors_hash(named_tensors(*make_sit(small, seed))); };
  EXPECT_EQ(hash(3), hash(3));
  EXPECT_NE(hash(3), hash(4));
}

TEST(SiT, RefusesSizesThatDoNotFit) {
  const auto message = [](void (*change)(SiTOptions&)) -> std::string {
    auto options = small;
    change(options);
    try {
      make_sit(options, 1);
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), exit_usage);
      return error.what();
    }
    return "accepted";
  };
  EXPECT_EQ(message([](SiTOptions& o) { o.heads = 5; }),
            "student.channels = 24 is not a multiple of student.heads = 5");
  EXPECT_NE(message([](SiTOptions& o) { o.channels = 18; }).find("student.channels = 18"), std::string::npos);
  EXPECT_NE(message([](SiTOptions& o) { o.patch = 4; }).find("student.patch = 4"), std::string::npos);
  EXPECT_NE(message([](SiTOptions& o) { o.depth = 0; }).find("student.depth = 0"), std::string::npos);
}

}  // namespace
}  // namespace couplet::testing
