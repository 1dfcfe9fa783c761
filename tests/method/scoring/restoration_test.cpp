#include "method/scoring/restoration.h"

#include "method/metrics/image_similarity.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>

namespace couplet {
namespace {

std::map<std::string, FeatureScore> scored(const at::Tensor& restored, const at::Tensor& images) {
  const at::Tensor figures = restoration_figures(restored, images, {2, "area"});
  EXPECT_EQ(figures.size(1), restoration_width(images.size(1)));
  std::map<std::string, FeatureScore> found;
  for (const FeatureScore& score : restoration_scores(figures.mean(0), images.size(0))) found[score.metric] = score;
  return found;
}

TEST(Restoration, OfAnOffsetHasItsClosedForms) {
  const at::Tensor images = at::full({4, 1, 16, 16}, 100, at::kByte);
  const auto found = scored(images + 5, images);
  EXPECT_EQ(found.size(), 3U);
  EXPECT_NEAR(found.at("restoration_psnr").value, 20 * std::log10(255.0 / 5), 1e-9);
  EXPECT_NEAR(found.at("consistency").value, 25.0 / (255 * 255), 1e-12);
  // Without variance, SSIM is the luminance term alone.
  const double c1 = (0.01 * 255) * (0.01 * 255), a = 105, b = 100;
  EXPECT_NEAR(found.at("restoration_ssim").value, (2 * a * b + c1) / (a * a + b * b + c1), 1e-9);
  EXPECT_EQ(found.at("consistency").samples, 4);
}

TEST(Restoration, OfTheImageItselfHasNoPsnr) {
  const at::Tensor images = at::randint(256, {3, 1, 12, 12}, at::kByte);
  const auto found = scored(images, images);
  EXPECT_TRUE(std::isnan(found.at("restoration_psnr").value));
  EXPECT_EQ(found.at("restoration_psnr").details.at("equal_pairs"), 3);
  EXPECT_NEAR(found.at("restoration_ssim").value, 1, 1e-12);
  EXPECT_EQ(found.at("consistency").value, 0);
}

TEST(Restoration, LeavesEqualPairsOutOfTheMeanPsnr) {
  const at::Tensor images = at::full({4, 1, 12, 12}, 50, at::kByte);
  at::Tensor restored = images.clone();
  restored[1].add_(10);
  restored[2].add_(1);
  const auto found = scored(restored, images);
  EXPECT_NEAR(found.at("restoration_psnr").value, (20 * std::log10(25.5) + 20 * std::log10(255.0)) / 2, 1e-9);
  EXPECT_EQ(found.at("restoration_psnr").details.at("equal_pairs"), 2);
}

TEST(Restoration, KeepsTheLowResolutionOfWhatIsMixedUpWithinBlocks) {
  const at::Tensor images = at::randint(256, {2, 1, 12, 12}, at::kByte);
  const at::Tensor mixed = images.unflatten(3, {6, 2}).flip(4).flatten(3, 4);
  EXPECT_EQ(scored(mixed, images).at("consistency").value, 0);
}

TEST(Restoration, OfColoursLooksAtTheirLuminanceToo) {
  const at::Tensor images = at::randint(200, {2, 3, 12, 12}, at::kByte);
  at::Tensor restored = images.clone();
  restored.select(1, 1).add_(20);  // green alone
  const auto found = scored(restored, images);
  EXPECT_EQ(found.size(), 5U);
  EXPECT_NEAR(found.at("restoration_psnr").value, 10 * std::log10(255.0 * 255 / (400.0 / 3)), 1e-9);
  EXPECT_NEAR(found.at("restoration_psnr_luminance").value,
              psnr(luminance(restored), luminance(images)).mean().item<double>(), 1e-9);
  EXPECT_NEAR(found.at("restoration_psnr_luminance").value, 20 * std::log10(255 / (0.587 * 20)), 0.05);
  EXPECT_LT(found.at("restoration_ssim_luminance").value, 1);
}

TEST(Luminance, IsThatOfTheStandard) {
  // PIL 10, Image.convert("L"): red, green, blue, white, (10, 20, 30).
  const at::Tensor colours = at::tensor({255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255, 10, 20, 30}, at::kByte);
  const at::Tensor found = luminance(colours.view({5, 3, 1, 1}));
  EXPECT_TRUE(found.flatten().equal(at::tensor({76, 150, 29, 255, 18}, at::kByte))) << found;
}

}  // namespace
}  // namespace couplet
