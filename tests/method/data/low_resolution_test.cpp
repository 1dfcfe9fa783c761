#include "method/data/low_resolution.h"

#include "method/data/dataset.h"
#include "method/data/images.h"
#include "storage/error.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

namespace couplet {
namespace {

std::string refusal(const LowResolution& low, const std::vector<std::int64_t>& shape) {
  try {
    check(low, shape);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

/// Keys' kernel with a = -1/2 (IEEE ASSP 29, 1981, eq. 15).
double keys(double x) {
  const double d = std::abs(x);
  if (d < 1) return (1.5 * d - 2.5) * d * d + 1;
  if (d < 2) return ((-0.5 * d + 2.5) * d - 4) * d + 2;
  return 0;
}

/// One line, [in] → [out]: weights of the kernel, widened by `scale` where the line shrinks, of the pixels' centres,
/// those beyond the ends left out and the sum brought to 1 (PIL's Resample.c, precompute_coeffs).
std::vector<double> line(const std::vector<double>& in, std::int64_t out) {
  const double scale = static_cast<double>(in.size()) / static_cast<double>(out), wide = std::max(scale, 1.0);
  std::vector<double> made;
  for (std::int64_t i = 0; i < out; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    double sum = 0, weights = 0;
    for (std::size_t k = 0; k < in.size(); ++k) {
      const double weight = keys((static_cast<double>(k) + 0.5 - centre) / wide);
      sum += weight * in[k];
      weights += weight;
    }
    made.push_back(sum / weights);
  }
  return made;
}

/// Float64 [H, W] → [side, side], lines, then columns.
at::Tensor resized_by_lines(const at::Tensor& image, std::int64_t side) {
  const auto along = [side](const at::Tensor& rows) {
    std::vector<at::Tensor> made;
    for (std::int64_t y = 0; y < rows.size(0); ++y) {
      const at::Tensor row = rows[y].contiguous();
      const auto* first = row.const_data_ptr<double>();
      made.push_back(at::tensor(line({first, first + row.size(0)}, side), at::kDouble));
    }
    return at::stack(made);
  };
  return along(along(image).t()).t();
}

TEST(LowResolution, ByAreaIsTheMeanOfEachBlockHalvesUp) {
  at::manual_seed(1);
  const at::Tensor images = at::randint(256, {3, 2, 16, 8}, at::kByte);
  for (const std::int64_t factor : {2, 4, 8}) {
    const at::Tensor low = downsampled(images, {factor, "area"});
    ASSERT_EQ(low.sizes(), (at::IntArrayRef{3, 2, 16 / factor, 8 / factor}));
    for (std::int64_t n = 0; n < 3; ++n)
      for (std::int64_t c = 0; c < 2; ++c)
        for (std::int64_t y = 0; y < low.size(2); ++y)
          for (std::int64_t x = 0; x < low.size(3); ++x) {
            double sum = 0;
            for (std::int64_t i = 0; i < factor * factor; ++i)
              sum += images[n][c][factor * y + i / factor][factor * x + i % factor].item<double>();
            EXPECT_EQ(low[n][c][y][x].item<double>(), std::floor(sum / static_cast<double>(factor * factor) + 0.5));
          }
  }
  EXPECT_EQ(downsampled(at::tensor({0, 1, 1, 0}, at::kByte).view({1, 1, 2, 2}), {2, "area"}).item<int>(), 1);
}

TEST(LowResolution, BicubicIsKeysKernelWidenedByTheFactor) {
  at::manual_seed(2);
  const at::Tensor image = at::randint(256, {1, 1, 16, 16}, at::kByte);
  for (const std::int64_t factor : {2, 4, 8}) {
    const at::Tensor expected = resized_by_lines(image[0][0].to(at::kDouble), 16 / factor).clamp(0, 255);
    const at::Tensor low = downsampled(image, {factor, "bicubic"})[0][0].to(at::kDouble);
    EXPECT_LE((low - expected).abs().max().item<double>(), 0.5 + 1e-3) << factor;
  }
  // A ramp stays one where no end is near.
  const at::Tensor ramp = at::arange(0, 128, 4).to(at::kByte).expand({1, 1, 32, 32}).contiguous();
  const at::Tensor low = downsampled(ramp, {2, "bicubic"})[0][0][8];
  for (std::int64_t x = 4; x < 12; ++x) EXPECT_EQ(low[x].item<int>(), 8 * x + 2) << x;
}

TEST(LowResolution, IsEnlargedByKeysKernelOnTheScaleOfTheModels) {
  at::manual_seed(3);
  const at::Tensor low = at::randint(256, {1, 1, 7, 7}, at::kByte);
  const at::Tensor expected = resized_by_lines(low[0][0].to(at::kDouble), 28).clamp(0, 255) / 127.5 - 1;
  const at::Tensor made = upsampled(low, 4);
  EXPECT_EQ(made.scalar_type(), at::kFloat);
  EXPECT_LE((made[0][0].to(at::kDouble) - expected).abs().max().item<double>(), 1e-5);
  for (const int grey : {0, 100, 255})
    EXPECT_LE((upsampled(at::full({2, 3, 4, 4}, grey, at::kByte), 2) - pixel_value(grey)).abs().max().item<double>(),
              1e-6);
}

TEST(LowResolution, OfMirroredImagesIsMirroredAndOfManyThatOfEach) {
  at::manual_seed(4);
  const at::Tensor images = at::randint(256, {5, 3, 8, 8}, at::kByte);
  for (const char* degradation : {"area", "bicubic"}) {
    const LowResolution low{4, degradation};
    const at::Tensor all = downsampled(images, low);
    for (std::int64_t i = 0; i < 5; ++i)
      EXPECT_TRUE(downsampled(images.narrow(0, i, 1), low).equal(all.narrow(0, i, 1))) << degradation;
    const at::Tensor mirrored = downsampled(images.flip(3), low).flip(3).to(at::kInt);
    EXPECT_LE((mirrored - all.to(at::kInt)).abs().max().item<int>(), degradation == std::string("area") ? 0 : 1);
  }
}

TEST(LowResolution, IsWhatADataSetSaysAndGoesWithItsRow) {
  at::manual_seed(5);
  DatasetShape shape{1, 8, 3, {1, 1, 1}};
  const at::Tensor images = at::randint(256, {6, 1, 8, 8}, at::kByte), labels = at::arange(6).remainder(3);
  EXPECT_FALSE(shape.condition(to_float(images), labels).image.defined());
  shape.low_resolution = {2, "area"};
  const Condition all = shape.condition(to_float(images), labels);
  EXPECT_TRUE(all.labels.equal(labels));
  EXPECT_TRUE(all.image.equal(upsampled(downsampled(images, {2, "area"}), 2)));
  EXPECT_TRUE(
      shape.condition(to_float(images.narrow(0, 3, 1)), labels.narrow(0, 3, 1)).image.equal(all.image.narrow(0, 3, 1)));
  EXPECT_TRUE(shape.condition_of_low(downsampled(images, {2, "area"}), labels).image.equal(all.image));
  EXPECT_EQ(shape.low_resolution.facts().dump(), R"({"condition":"low-resolution","degradation":"area","factor":2})");
  EXPECT_TRUE(LowResolution{}.facts().empty());
}

TEST(LowResolution, PanelsAreLowMadeImage) {
  const at::Tensor images = at::randint(256, {2, 1, 4, 4}, at::kByte), made = at::randint(256, {2, 1, 4, 4}, at::kByte);
  const at::Tensor panels = restoration_panels(made, images, {2, "area"});
  ASSERT_EQ(panels.sizes(), (at::IntArrayRef{6, 1, 4, 4}));
  EXPECT_TRUE(panels[4].equal(made[1]));
  EXPECT_TRUE(panels[5].equal(images[1]));
  EXPECT_EQ(panels[3][0][3][1].item<int>(), downsampled(images, {2, "area"})[1][0][1][0].item<int>());
}

TEST(LowResolution, RefusesFactorsThatDoNotFit) {
  EXPECT_EQ(refusal({4, "area"}, {1, 28, 28}), "");
  EXPECT_EQ(refusal({8, "area"}, {1, 28, 28}), "prepare.factor = 8 does not divide the side of the images, 28 pixels");
  EXPECT_EQ(refusal({3, "area"}, {1, 27, 27}),
            "prepare.factor = 3: images lose their resolution by a factor of 2, 4 or 8");
  EXPECT_EQ(refusal({2, "nearest"}, {1, 28, 28}), "unknown prepare.degradation 'nearest'; there are: area, bicubic");
}

}  // namespace
}  // namespace couplet
