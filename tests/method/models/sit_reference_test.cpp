// SiT against willisma/SiT, for every size that the reference files say.
#include "method/models/sit.h"
#include "tests/method/reference.h"

#include <gtest/gtest.h>

namespace couplet::testing {
namespace {

class SiTReference : public ::testing::Test {
protected:
  ReferenceFile weights{"sit.weights"};
  ReferenceFile io{"sit.io"};
  SiTOptions options;

  void SetUp() override {
    options.in_channels = weights.size("in_channels");
    options.image_size = weights.size("input_size");
    options.patch = weights.size("patch_size");
    options.channels = weights.size("hidden_size");
    options.depth = weights.size("depth");
    options.heads = weights.size("num_heads");
    options.num_classes = weights.size("num_classes");
    const auto plain = options.patch * options.patch * options.in_channels;
    options.learn_sigma = weights["final_layer.linear.bias"].size(0) == 2 * plain;
  }
  SiT load(const NamedTensors& tensors, const SiTOptions& of) const {
    auto model = make_sit(of, 1);
    load_tensors(*model, tensors, weights.path.string());
    return model;
  }
  SiTOptions ours() const {
    auto plain = options;
    plain.learn_sigma = false;
    return plain;
  }
};

TEST_F(SiTReference, VelocityOfRawWeights) {
  auto model = load(weights.tensors, options);
  EXPECT_LE(difference(model(io["x"], io["t"], io["y"]), io["velocity"]), forward_tolerance);
}

TEST_F(SiTReference, GuidedVelocityInTheChannelsThatTheReferenceGuides) {
  auto model = load(weights.tensors, options);
  const auto guided = model->guided_velocity(io["cfg_x"], io["cfg_t"], io["cfg_y"], 1.5);
  const auto compared = std::min<std::int64_t>(3, options.in_channels);
  EXPECT_LE(difference(guided.narrow(1, 0, compared), io["cfg_velocity_scale1_5"].narrow(1, 0, compared)),
            forward_tolerance);
}

/// The reference file's weights are all disturbed by noise (of standard deviation 0.05), its positions too; an order of
/// rows, columns, sines or cosines other than ours would differ by 0.5 and more.
TEST_F(SiTReference, Positions) {
  const auto ours = sincos_positions(options.channels, options.image_size / options.patch);
  ASSERT_EQ(ours.sizes(), weights["pos_embed"].sizes());
  EXPECT_LE((ours - weights["pos_embed"]).square().mean().item<double>(), 0.02);
}

TEST_F(SiTReference, ImportTurnsTimeAndFieldRound) {
  auto model = load(import_sit(weights.tensors), ours());
  EXPECT_LE(difference(-model(io["x"], 1 - io["t"], io["y"]), io["velocity"]), forward_tolerance);
}

TEST_F(SiTReference, ExportAfterImportGivesTheReferencesFieldBack) {
  auto model = load(reverse_time(import_sit(weights.tensors)), ours());
  EXPECT_LE(difference(model(io["x"], io["t"], io["y"]), io["velocity"]), forward_tolerance);
}

}  // namespace
}  // namespace couplet::testing
