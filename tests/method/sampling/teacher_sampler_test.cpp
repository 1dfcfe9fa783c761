// A teacher's samples without the noise that it was trained on.
#include "method/sampling/teacher_sampler.h"

#include "method/data/images.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace couplet {
namespace {

TarFlow small_teacher() {
  TarFlowOptions options;
  options.in_channels = 1;
  options.image_size = 4;
  options.patch = 2;
  options.channels = 8;
  options.blocks = 2;
  options.layers = {1};
  options.head_size = 8;
  options.num_classes = 2;
  return make_tarflow(options, 3);
}

TEST(TeacherSampler, SamplesOfATeacherOfUniformNoiseAreTheGreyValuesOfTheirCells) {
  TarFlow teacher = small_teacher();
  at::manual_seed(1);
  const at::Tensor z = at::randn({6, 1, 4, 4}) * 0.5;
  const Condition condition{at::arange(6).remainder(2), {}};
  const TeacherSamples as_made = sample_teacher(teacher, z, condition, {});
  const TeacherSamples samples = sample_teacher(teacher, z, condition, {.noise = {.uniform = true}});
  EXPECT_FALSE(samples.denoised.defined());
  const at::Tensor grey = ((as_made.raw + 1) * 128).floor().clamp(0, 255).to(at::kByte);
  EXPECT_TRUE(to_uint8(samples.images()).equal(grey));
  EXPECT_FALSE(to_uint8(as_made.images()).equal(grey)) << "other rounding would not show";
}

TEST(TeacherSampler, GaussianNoiseIsTakenOffByADenoisingStep) {
  TarFlow teacher = small_teacher();
  at::manual_seed(1);
  const at::Tensor z = at::randn({2, 1, 4, 4});
  const Condition condition{at::arange(2), {}};
  const TeacherSamples as_made = sample_teacher(teacher, z, condition, {});
  EXPECT_FALSE(as_made.denoised.defined());
  const TeacherSamples samples = sample_teacher(teacher, z, condition, {.noise = {.standard_deviation = 0.1}});
  EXPECT_TRUE(samples.raw.equal(as_made.raw));
  EXPECT_TRUE(samples.denoised.defined());
}

}  // namespace
}  // namespace couplet
