// TarFlow against apple/ml-tarflow, for every size that the reference files say.
#include "method/models/tarflow.h"
#include "tests/method/reference.h"

#include <gtest/gtest.h>

namespace couplet::testing {
namespace {

class TarFlowReference : public ::testing::TestWithParam<const char*> {
protected:
  ReferenceFile weights{std::string(GetParam()) + ".weights"};
  ReferenceFile io{std::string(GetParam()) + ".io"};
  TarFlow model{nullptr};
  at::Tensor y;

  void SetUp() override {
    TarFlowOptions options;
    options.in_channels = weights.size("in_channels");
    options.image_size = weights.size("img_size");
    options.patch = weights.size("patch_size");
    options.channels = weights.size("channels");
    options.blocks = weights.size("num_blocks");
    options.layers = {weights.size("layers_per_block")};
    options.head_size = weights.size("head_dim", 64);
    options.num_classes = weights.size("num_classes", 0);
    options.nvp = weights["blocks.0.proj_out.weight"].size(0) == 2 * options.token_size();
    model = make_tarflow(options, 1);
    load_tensors(*model, weights.tensors, weights.path.string(), {"attn_mask"});
    if (io.has("y")) y = io["y"];
  }

  void expect_output(const TarFlowOutput& output, const std::string& suffix) {
    EXPECT_LE(difference(output.z, io["z" + suffix]), forward_tolerance) << "z" << suffix;
    EXPECT_LE(difference(output.logdet, io["logdet" + suffix]), forward_tolerance) << "logdet" << suffix;
  }
  /// Random weights make a flow whose inverse may overflow. In such a row the reference says nothing about accuracy,
  /// only that ours overflows too; every other row is held to the tolerance.
  void expect_reverse(const std::string& name, const TarFlowSampling& sampling) {
    const auto ours = model->reverse(io["noise"], y, sampling);
    const auto& theirs = io[name];
    ASSERT_EQ(ours.sizes(), theirs.sizes());
    int compared = 0;
    for (std::int64_t row = 0; row < theirs.size(0); ++row) {
      if (at::isfinite(theirs[row]).all().item<bool>()) {
        EXPECT_LE(difference(ours[row], theirs[row]), sample_tolerance) << name << ", row " << row;
        ++compared;
      } else {
        EXPECT_FALSE(at::isfinite(ours[row]).all().item<bool>()) << name << ", row " << row;
      }
    }
    EXPECT_GE(compared, 1) << "no row of " << name << " is finite";
  }
};

TEST_P(TarFlowReference, Forward) {
  expect_output(model(io["x"], y), "");
}

TEST_P(TarFlowReference, DroppedLabels) {
  if (!io.has("y_dropped")) GTEST_SKIP() << "no dropped labels in this folder";
  expect_output(model(io["x"], io["y_dropped"]), "_dropped");
}

TEST_P(TarFlowReference, Unconditional) {
  expect_output(model(io["x"]), "_uncond");
}

TEST_P(TarFlowReference, LossAndGradients) {
  const auto loss = model->loss(model(io["x"], y));
  EXPECT_LE(difference(loss.reshape({1}), io["loss"].reshape({1})), forward_tolerance);
  loss.backward();
  const auto parameters = model->named_parameters();
  const std::string prefix = "grad.";
  int compared = 0;
  for (const auto& [name, expected] : io.tensors) {
    if (!name.starts_with(prefix)) continue;
    const auto* parameter = parameters.find(name.substr(prefix.size()));
    ASSERT_NE(parameter, nullptr) << name;
    EXPECT_LE(difference(parameter->grad(), expected), forward_tolerance) << name;
    ++compared;
  }
  EXPECT_GE(compared, 1);
}

TEST_P(TarFlowReference, Reverse) {
  expect_reverse("reverse", {});
}

TEST_P(TarFlowReference, GuidedReverse) {
  expect_reverse("reverse_guided", {.guidance = 1.5});
}

TEST_P(TarFlowReference, GuidedAnnealedReverseAtOtherTemperature) {
  expect_reverse("reverse_guided_annealed_temp09", {.guidance = 1.5, .annealed = true, .attention_temperature = 0.9});
}

/// The reference's own file, of the same names, shapes and masks: what its Model's load_state_dict wants.
TEST_P(TarFlowReference, ExportGivesTheReferencesFileBack) {
  const auto exported = export_tarflow(named_tensors(*model), model->options());
  ASSERT_EQ(exported.size(), weights.tensors.size());
  for (const auto& [name, tensor] : weights.tensors) {
    ASSERT_TRUE(exported.contains(name)) << name;
    EXPECT_EQ(difference(exported.at(name), tensor), 0) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Variants, TarFlowReference, ::testing::Values("tarflow_nvp", "tarflow_vp"),
                         [](const auto& variant) { return std::string(variant.param); });

}  // namespace
}  // namespace couplet::testing
