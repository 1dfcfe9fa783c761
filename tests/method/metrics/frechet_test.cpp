// Fréchet distance and moments against closed forms and brute force.
#include "method/metrics/frechet.h"

#include "storage/error.h"
#include "tests/pipeline/training/memory_peak.h"

#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <filesystem>
#include <limits>
#include <string>
#include <vector>

namespace couplet {
namespace {

/// Moments of a set of `count` rows with exactly this mean and covariance.
Moments moments_of(const at::Tensor& mean, const at::Tensor& covariance, std::int64_t count = 1000) {
  Moments moments(mean.size(0));
  const double n = static_cast<double>(count);
  moments.count = count;
  moments.sum = mean * n;
  moments.outer = covariance * (n - 1) + at::outer(mean, mean) * n;
  return moments;
}

at::Tensor vector(std::vector<double> values) {
  return torch::tensor(values, torch::kDouble);
}

TEST(Frechet, DiagonalGaussians) {
  const at::Tensor mean_a = vector({1, 2, 3, 0}), mean_b = vector({0, 2, 5, 0});
  const at::Tensor var_a = vector({1, 4, 9, 0.25}), var_b = vector({4, 4, 1, 0});
  const double exact = ((mean_a - mean_b).square() + (var_a.sqrt() - var_b.sqrt()).square()).sum().item<double>();
  EXPECT_NEAR(frechet_distance(moments_of(mean_a, var_a.diag()), moments_of(mean_b, var_b.diag())), exact, 1e-9);
}

TEST(Frechet, RotatedGaussians) {
  // A rotation of both changes nothing; of covariances that commute the closed form is the diagonal one.
  const at::Tensor q = std::get<0>(torch::linalg_qr(torch::randn({6, 6}, torch::kDouble)));
  const at::Tensor var_a = vector({1, 2, 3, 4, 5, 1e-6}), var_b = vector({2, 2, 1, 9, 1e-3, 0});
  const double exact = (var_a.sqrt() - var_b.sqrt()).square().sum().item<double>();
  const at::Tensor zero = torch::zeros({6}, torch::kDouble);
  const auto rotated = [&](const at::Tensor& variances) { return moments_of(zero, (q * variances).mm(q.t())); };
  EXPECT_NEAR(frechet_distance(rotated(var_a), rotated(var_b)), exact, 1e-6);
}

TEST(Frechet, IsSymmetricAndZeroForEqualSets) {
  torch::manual_seed(1);
  Moments a(8), b(8);
  a.add(torch::randn({100, 8}));
  b.add(torch::randn({90, 8}).mm(torch::randn({8, 8})) + 1);
  EXPECT_NEAR(frechet_distance(a, a), 0, 1e-9);
  EXPECT_NEAR(frechet_distance(a, b), frechet_distance(b, a), 1e-9);
  EXPECT_GT(frechet_distance(a, b), 1);
}

TEST(Frechet, DigitsDoNotDependOnRoundingOfFeaturesThatHardlyVary) {
  // Variances from 1 down to 1e-22, and three features that never vary. The order of rows changes rounding alone.
  torch::manual_seed(3);
  const std::int64_t dimension = 64, dead = 3;
  const at::Tensor scales = (torch::arange(dimension, torch::kDouble) * -0.4).exp();
  const auto features = [&](std::int64_t rows) {
    at::Tensor x = torch::randn({rows, dimension}, torch::kDouble)
                       .mm(scales.unsqueeze(1) * torch::randn({dimension, dimension}, torch::kDouble));
    x.narrow(1, 0, dead).zero_();
    return x;
  };
  const at::Tensor a = features(1000), b = features(3000);
  const auto in_some_order = [](const at::Tensor& x) {
    Moments moments(x.size(1));
    moments.add(x.index_select(0, torch::randperm(x.size(0))));
    return moments;
  };
  const double first = frechet_distance(in_some_order(a), in_some_order(b));
  for (int i = 0; i < 5; ++i) EXPECT_NEAR(frechet_distance(in_some_order(a), in_some_order(b)), first, 1e-12 * first);
}

TEST(Moments, SlicesEqualBruteForce) {
  torch::manual_seed(2);
  const at::Tensor features = torch::randn({257, 12}) * 3 + 5;
  Moments whole(12), first(12), second(12);
  for (std::int64_t row = 0; row < 257; row += 32) {
    const at::Tensor slice = features.slice(0, row, std::min<std::int64_t>(row + 32, 257));
    whole.add(slice);
    (row < 128 ? first : second).add(slice);
  }
  first.add(second);
  const at::Tensor exact = features.to(torch::kDouble);
  const at::Tensor centred = exact - exact.mean(0);
  for (const Moments* moments : {&whole, &first}) {
    EXPECT_EQ(moments->count, 257);
    EXPECT_TRUE(moments->mean().allclose(exact.mean(0), 1e-13));
    EXPECT_TRUE(moments->covariance().allclose(centred.t().mm(centred) / 256, 1e-11, 1e-12));
  }
}

TEST(Moments, CopiesAreOfTheValues) {
  Moments first(3);
  first.add(torch::ones({2, 3}));
  Moments second = first, third(3);
  third = first;
  first.add(torch::ones({5, 3}));
  for (const Moments* copy : {&second, &third}) {
    EXPECT_EQ(copy->count, 2);
    EXPECT_EQ(copy->sum[0].item<double>(), 2);
    EXPECT_EQ(copy->outer[1][2].item<double>(), 2);
  }
}

TEST(Moments, Of2048FeaturesStayUnder100Megabytes) {
  torch::manual_seed(3);
  const at::Tensor slice = torch::randn({250, 2048});
  const MemoryPeak peak;
  Moments moments(2048);
  for (int i = 0; i < 3; ++i) moments.add(slice);
  moments.covariance();
  EXPECT_LT(peak.bytes(), 100'000'000);
  EXPECT_GT(peak.bytes(), 2 * 2048 * 2048 * 8) << "the peak was measured";
}

TEST(Moments, SayWhatFewSamplesAreWorth) {
  EXPECT_NE(sample_size_warning(9999).find("9999 samples"), std::string::npos);
  EXPECT_EQ(sample_size_warning(10000), "");
}

TEST(Moments, RefusesWhatHasNoDistance) {
  Moments few(4), other(5), enough(4);
  few.add(torch::randn({4, 4}));
  enough.add(torch::randn({5, 4}));
  EXPECT_THROW(frechet_distance(few, enough), Error);
  EXPECT_THROW(frechet_distance(enough, few), Error);
  EXPECT_THROW(frechet_distance(enough, other), Error);
  EXPECT_NO_THROW(frechet_distance(enough, enough));
  EXPECT_THROW(few.add(torch::randn({4, 5})), Error);
  EXPECT_THROW(few.add(other), Error);
  EXPECT_THROW(Moments(4).covariance(), Error);
}

TEST(Moments, CountsRowsThatAreNotFinite) {
  at::Tensor features = torch::zeros({6, 3});
  features[1][2] = std::numeric_limits<float>::quiet_NaN();
  features[4][0] = std::numeric_limits<float>::infinity();
  features[4][1] = std::numeric_limits<float>::infinity();
  Moments moments(3);
  try {
    moments.add(features);
    FAIL() << "added rows that are not finite";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("2 of 6 rows"), std::string::npos) << error.what();
  }
  EXPECT_EQ(moments.count, 0);
}

TEST(Moments, FileRoundTrip) {
  const std::filesystem::path path = std::filesystem::path(::testing::TempDir()) / "moments_test.safetensors";
  Moments moments(3);
  moments.add(torch::randn({9, 3}));
  save_moments(path, moments, {{"split", "test"}});
  const Moments read = load_moments(path);
  EXPECT_EQ(read.count, 9);
  EXPECT_TRUE(read.sum.equal(moments.sum));
  EXPECT_TRUE(read.outer.equal(moments.outer));
  write_tensors(path, {{"weight", torch::zeros({2})}});
  try {
    load_moments(path);
    FAIL() << "read moments from a file of something else";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("moments_test.safetensors"), std::string::npos) << error.what();
  }
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace couplet
