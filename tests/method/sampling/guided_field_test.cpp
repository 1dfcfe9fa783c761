#include "method/sampling/guided_field.h"

#include "storage/error.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <string>

namespace couplet {
namespace {

/// A student whose output depends on its labels.
SiT small_student() {
  SiT model = make_sit(
      {.in_channels = 1, .image_size = 4, .patch = 2, .channels = 8, .depth = 1, .heads = 2, .num_classes = 3}, 1);
  const torch::NoGradGuard no_grad;
  for (auto& parameter : model->parameters()) parameter.normal_(0, 0.3);
  model->eval();
  return model;
}

std::string refusal(const Guidance& guidance) {
  try {
    check(guidance);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(StudentField, IsGuidedInItsIntervalOnly) {
  const torch::NoGradGuard no_grad;
  SiT model = small_student();
  const at::Tensor x = torch::randn({3, 1, 4, 4}), labels = torch::tensor({0, 1, 2}, torch::kInt64);
  const VelocityField field = student_field(model, labels, {.scale = 2.5, .from = 0.25, .to = 0.75}, "float32");
  for (const double t : {0.0, 0.2, 0.25, 0.5, 0.75, 0.8, 1.0}) {
    const at::Tensor times = torch::full({3}, t);
    const at::Tensor plain = model->forward(x, times, labels);
    const at::Tensor guided = model->guided_velocity(x, times, labels, 2.5);
    ASSERT_GT((plain - guided).abs().max().item<double>(), 1e-3) << "guidance is seen";
    EXPECT_TRUE(field(x, t).allclose(t < 0.25 || t > 0.75 ? plain : guided, 1e-6, 1e-6)) << t;
  }
}

TEST(StudentField, RefusesGuidanceThatCannotBeMeant) {
  EXPECT_EQ(refusal({}), "");
  EXPECT_EQ(refusal({.scale = 2, .from = 0.1, .to = 0.9}), "");
  EXPECT_NE(refusal({.scale = 2, .from = 0.9, .to = 0.1}).find("below its end"), std::string::npos);
  EXPECT_NE(refusal({.scale = 2, .from = 0, .to = 1.5}), "");
  EXPECT_NE(refusal({.scale = 1, .from = 0.2, .to = 1}).find("no guidance"), std::string::npos);
}

}  // namespace
}  // namespace couplet
