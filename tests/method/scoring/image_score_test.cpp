// Scores of images in files: what is compared with what, and what is said of it.
#include "method/scoring/image_score.h"

#include "method/metrics/frechet.h"
#include "method/metrics/kernel_distance.h"
#include "method/scoring/described_images.h"
#include "storage/error.h"
#include "storage/filesystem.h"
#include "tests/method/scoring/npz_arrays.h"
#include "tests/method/scoring/pixel_network.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <map>
#include <string>
#include <vector>

namespace couplet {
namespace {

/// As .npz files hold images: [count, side, side, 1].
at::Tensor some_images(std::int64_t count, std::uint64_t seed, std::int64_t side = 4) {
  at::manual_seed(seed);
  return at::randint(0, 256, {count, side, side, 1}, at::kByte);
}

at::Tensor features_of(const at::Tensor& images) {
  return PixelNetwork::features(images.permute({0, 3, 1, 2}).contiguous());
}

Moments moments_of(const at::Tensor& features) {
  Moments moments(features.size(1));
  moments.add(features);
  return moments;
}

struct Scores {
  std::map<std::string, nlohmann::ordered_json> named;
  std::string warnings;
};

class ImageScore : public ::testing::Test {
protected:
  fs::path folder = fs::temp_directory_path() / ("image_score_" + std::to_string(::getpid()));
  std::unique_ptr<Communicator> alone = make_single_communicator();
  PixelNetwork network;

  void SetUp() override { fs::create_directories(folder); }
  void TearDown() override { fs::remove_all(folder); }

  fs::path save(const std::string& name, const std::vector<NpzArray>& arrays) const {
    write_npz(folder / name, arrays);
    return folder / name;
  }
  /// Images, and statistics of other ones.
  fs::path save_both(const std::string& name, const at::Tensor& images, const Moments& moments) const {
    return save(name,
                {array_of("mu", moments.mean()), array_of("sigma", moments.covariance()), array_of("arr_0", images)});
  }
  Scores scores(const ImageScoreRequest& request, bool by_features = true) {
    const auto json = score_images(request, by_features ? &network : nullptr, *alone);
    Scores found{.named = {}, .warnings = json["warnings"].dump()};
    for (const auto& score : json["scores"]) found.named[score["metric"].get<std::string>()] = score;
    return found;
  }
};

#define EXPECT_SAYS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)
#define EXPECT_SAYS_NOT(text, part) EXPECT_EQ((text).find(part), std::string::npos) << (text)

TEST_F(ImageScore, AFileOfStatisticsAndImagesGivesMomentsOfTheOneAndPairsOfTheOther) {
  const at::Tensor samples = some_images(60, 1), images = some_images(40, 2), held_out = some_images(30, 3);
  const Moments moments = moments_of(features_of(some_images(500, 5)));
  const Scores found = scores({.samples = save("samples.npz", {array_of("arr_0", samples)}),
                               .reference = save_both("adm.npz", images, moments),
                               .held_out = save("held-out.npz", {array_of("arr_0", held_out)}),
                               .compared_images = 1000});
  EXPECT_NEAR(found.named.at("frechet_distance")["value"].get<double>(),
              frechet_distance(moments_of(features_of(samples)), moments), 1e-9);
  const at::Tensor real = features_of(images);
  EXPECT_NEAR(found.named.at("kernel_distance")["value"].get<double>(),
              full_kernel_distance(features_of(samples), real, kernel_sum(real, *alone), *alone), 1e-12);
  EXPECT_EQ(found.named.at("precision")["reference_samples"], 40);
  EXPECT_EQ(found.named.at("nearest_training_ratio")["held_out_samples"], 30);
  EXPECT_SAYS_NOT(found.warnings, "statistics of them alone");
  EXPECT_SAYS(found.warnings, "does not say which network");
}

TEST_F(ImageScore, TheImagesOfAFileWithStatisticsMayBeTooFew) {
  const Moments moments = moments_of(features_of(some_images(500, 5)));
  const Scores found = scores({.samples = save("samples.npz", {array_of("arr_0", some_images(60, 1))}),
                               .reference = save_both("adm.npz", some_images(5, 2), moments),
                               .compared_images = 1000});
  EXPECT_TRUE(found.named.contains("frechet_distance"));
  EXPECT_FALSE(found.named.contains("kernel_distance"));
  EXPECT_SAYS(found.warnings, "6 images at least");
}

TEST_F(ImageScore, OfMoreSamplesAPartIsDrawnAndTheReferenceIsAtEvenDistances) {
  const at::Tensor samples = some_images(300, 1), images = some_images(290, 2);
  const at::Tensor labels = at::arange(300).div(100, "floor");
  const ImageScoreRequest request{
      .samples = save("samples.npz", {array_of("arr_0", samples), array_of("arr_1", labels)}),
      .reference = save("images.npz", {array_of("arr_0", images)}),
      .compared_images = 50};
  const Scores found = scores(request);
  const at::Tensor drawn = features_of(samples.index_select(0, drawn_rows(300, 50)));
  const at::Tensor even = features_of(images.index_select(0, even_rows(290, 50)));
  EXPECT_NEAR(found.named.at("kernel_distance")["value"].get<double>(),
              full_kernel_distance(drawn, even, kernel_sum(even, *alone), *alone), 1e-12);
  EXPECT_SAYS(found.warnings, "in the order of their classes (arr_1); the 50 of 300");
  ImageScoreRequest all = request;
  all.compared_images = 300;
  EXPECT_SAYS_NOT(scores(all).warnings, "arr_1");
  for (const at::Tensor& others : {labels.flip(0), at::zeros({300}, at::kLong), labels.to(at::kFloat)}) {
    save("samples.npz", {array_of("arr_0", samples), array_of("arr_1", others)});
    EXPECT_SAYS_NOT(scores(request).warnings, "arr_1");
  }
}

TEST_F(ImageScore, PairsOfImagesSmallerThanAWindowHaveNoSsimAndTheRestIsThere) {
  const fs::path a = save("a.npz", {array_of("arr_0", some_images(9, 1, 8))});
  const fs::path b = save("b.npz", {array_of("arr_0", some_images(9, 2, 8))});
  const Scores found = scores({.samples = a, .reference = b, .paired = true, .nearest = 1}, /*by_features=*/false);
  EXPECT_TRUE(found.named.at("psnr")["value"].is_number());
  EXPECT_TRUE(found.named.at("ssim")["value"].is_null());
  EXPECT_TRUE(found.named.at("nearest_distance")["value"].is_number());
  EXPECT_SAYS(found.warnings, "ssim: none: images of 8x8");
}

TEST_F(ImageScore, AFileOfNeitherImagesNorStatisticsIsToldBothNames) {
  const fs::path images = save("images.npz", {array_of("arr_0", some_images(60, 1))});
  const fs::path other = save("other.npz", {array_of("mean", at::zeros({3})), array_of("cov", at::eye(3))});
  try {
    scores({.samples = images, .reference = other});
    FAIL() << "took a file of mean and cov";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), exit_usage);
    for (const char* part : {"other.npz", "arr_0", "mu and sigma", "mean"})
      EXPECT_SAYS(std::string(error.what()), part);
  }
}

}  // namespace
}  // namespace couplet
