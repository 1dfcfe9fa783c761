// Kernel distance, coverage, inception score and nearest images against brute force; the same digits on any number of
// ranks.
#include "method/metrics/coverage.h"
#include "method/metrics/distances.h"
#include "method/metrics/frechet.h"
#include "method/metrics/inception_score.h"
#include "method/metrics/kernel_distance.h"
#include "method/metrics/nearest_images.h"
#include "method/metrics/numpy_random.h"
#include "method/scoring/feature_comparison.h"
#include "storage/error.h"
#include "tests/pipeline/ranks.h"

#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

namespace couplet {
namespace {

/// Correlated features that are not centred, the same on every rank.
at::Tensor features(std::int64_t rows, std::int64_t dimension, std::uint64_t seed, double shift = 0) {
  torch::manual_seed(seed);
  const at::Tensor mixing = torch::randn({dimension, dimension});
  return torch::randn({rows, dimension}).mm(mixing) + 3 + shift;
}

at::Tensor brute_distances(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(torch::kDouble).unsqueeze(1) - b.to(torch::kDouble).unsqueeze(0)).square().sum(2);
}

void expect_relative(double found, double expected, double tolerance = 1e-9) {
  EXPECT_NEAR(found, expected, tolerance * std::abs(expected));
}

/// The digits that a result has on every rank and, alone, on each: what one process computes equals what ranks do.
void expect_rank_independent(const std::function<std::vector<double>(Communicator&)>& compute) {
  const auto alone = make_single_communicator();
  EXPECT_EQ(compute(ranks()), compute(*alone)) << "on " << ranks().size() << " ranks";
}

void expect_refusal(const std::function<void()>& work, const std::string& part) {
  try {
    work();
    FAIL() << "went on where a refusal with \"" << part << "\" was expected";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

double full_kernel_distance(const at::Tensor& a, const at::Tensor& b, Communicator& communicator) {
  return full_kernel_distance(a, b, kernel_sum(b, communicator), communicator);
}

Coverage coverage(const at::Tensor& fake, const at::Tensor& real, const CoverageNeighbours& k,
                  Communicator& communicator) {
  return coverage(fake, real, squared_radii(real, k, communicator), k, communicator);
}

double brute_mmd(const at::Tensor& a, const at::Tensor& b) {
  const auto kernel = [](const at::Tensor& x, const at::Tensor& y) {
    return (x.to(torch::kDouble).mm(y.to(torch::kDouble).t()) / static_cast<double>(x.size(1)) + 1).pow(3);
  };
  const auto off_diagonal = [](const at::Tensor& k) {
    const auto n = static_cast<double>(k.size(0));
    return (k.sum().item<double>() - k.trace().item<double>()) / (n * (n - 1));
  };
  return off_diagonal(kernel(a, a)) + off_diagonal(kernel(b, b)) - 2 * kernel(a, b).mean().item<double>();
}

TEST(RandomState, PermutationsAreNumPys) {
  // numpy.random.RandomState(2020): permutation(10), permutation(7), choice(100000, 5, replace=False)
  RandomState draws(2020);
  EXPECT_EQ(draws.permutation(10), (std::vector<std::int64_t>{2, 4, 9, 1, 5, 7, 6, 3, 8, 0}));
  EXPECT_EQ(draws.permutation(7), (std::vector<std::int64_t>{4, 3, 1, 2, 5, 6, 0}));
  std::vector<std::int64_t> first = draws.permutation(100000);
  first.resize(5);
  EXPECT_EQ(first, (std::vector<std::int64_t>{24258, 37108, 96034, 74488, 78535}));
}

TEST(KernelDistance, FullEqualsBruteForce) {
  // More rows than a slice, of both sets, and sets of different sizes.
  const at::Tensor a = features(700, 12, 1), b = features(530, 12, 2, 0.5);
  expect_relative(full_kernel_distance(a, b, ranks()), brute_mmd(a, b));
  expect_rank_independent(
      [&](Communicator& communicator) { return std::vector{full_kernel_distance(a, b, communicator)}; });
}

TEST(KernelDistance, SubsetsScatterAroundTheFullOne) {
  const at::Tensor a = features(600, 8, 3), b = features(500, 8, 4, 0.3);
  const KernelDistance distance = kernel_distance(a, b, {.subsets = 40, .rows = 100}, ranks());
  const double full = brute_mmd(a, b);
  EXPECT_GT(distance.deviation, 0);
  EXPECT_LT(std::abs(distance.mean - full), 4 * distance.deviation);
  // A subset of all rows is the whole set in another order.
  const at::Tensor as_many = a.narrow(0, 0, 500);
  const KernelDistance whole = kernel_distance(as_many, b, {.subsets = 3, .rows = 500}, ranks());
  expect_relative(whole.mean, brute_mmd(as_many, b));
  EXPECT_LT(whole.deviation, 1e-9 * whole.mean);
  expect_rank_independent([&](Communicator& communicator) {
    const KernelDistance found = kernel_distance(a, b, {.subsets = 7, .rows = 50}, communicator);
    return std::vector{found.mean, found.deviation};
  });
}

TEST(KernelDistance, RefusesWhatHasNone) {
  const at::Tensor few = features(20, 4, 5);
  expect_refusal([&] { kernel_distance(few, few, {.rows = 21}, ranks()); }, "sets of 20 and 20 rows");
  expect_refusal([&] { kernel_distance(few, few, {.rows = 1}, ranks()); }, "at least 2");
  expect_refusal([&] { full_kernel_distance(few, features(20, 5, 5), ranks()); }, "different networks");
}

Coverage brute_coverage(const at::Tensor& fake, const at::Tensor& real, const CoverageNeighbours& k) {
  const auto radii = [](const at::Tensor& set, std::int64_t neighbour) {
    return std::get<0>(brute_distances(set, set).sort(1)).select(1, neighbour);
  };
  const at::Tensor across = brute_distances(real, fake);  // [real, fake]
  const auto mean = [](const at::Tensor& values) { return values.to(torch::kDouble).mean().item<double>(); };
  const at::Tensor dense = across.lt(radii(real, k.of_density).unsqueeze(1));
  return {.precision = mean(across.le(radii(real, k.of_precision).unsqueeze(1)).any(0)),
          .recall = mean(across.le(radii(fake, k.of_precision).unsqueeze(0)).any(1)),
          .density = mean(dense.sum(0)) / static_cast<double>(k.of_density),
          .coverage = mean(dense.any(1))};
}

std::vector<double> values_of(const Coverage& found) {
  return {found.precision, found.recall, found.density, found.coverage};
}

TEST(Coverage, EqualsBruteForce) {
  const at::Tensor fake = features(300, 6, 6), real = features(410, 6, 6, 0.7);
  for (const CoverageNeighbours k : {CoverageNeighbours{}, CoverageNeighbours{5, 5}, CoverageNeighbours{7, 1}}) {
    const Coverage found = coverage(fake, real, k, ranks()), exact = brute_coverage(fake, real, k);
    EXPECT_EQ(values_of(found), values_of(exact));
    EXPECT_GT(found.precision, 0.1);
    EXPECT_LT(found.coverage, 1);
  }
  expect_rank_independent(
      [&](Communicator& communicator) { return values_of(coverage(fake, real, {}, communicator)); });
}

TEST(Coverage, ABallsSurfaceIsWithinItForPrecisionOnly) {
  // Real rows 0, 1, 2, …: the ball of row i reaches to i ± k. A generated row lies at half and at whole numbers.
  const at::Tensor real = torch::arange(20, torch::kFloat32).unsqueeze(1) + 1000;
  const at::Tensor fake = torch::tensor({-1.0, -1.5, 30.0, 5.0}).unsqueeze(1) + 1000;
  const Coverage found = coverage(fake, real, {.of_precision = 1, .of_density = 1}, ranks());
  EXPECT_DOUBLE_EQ(found.precision, 2.0 / 4) << "-1 on the surface of 0's ball, and 5";
  EXPECT_DOUBLE_EQ(found.density, 1.0 / 4) << "5 in its own ball alone: those of 4 and 6 end in it";
  EXPECT_DOUBLE_EQ(found.coverage, 1.0 / 20);
}

TEST(Coverage, OfACopyOfTheRealSet) {
  const at::Tensor real = features(200, 5, 8);
  const Coverage same = coverage(real, real, {}, ranks());
  EXPECT_EQ(same.precision, 1);
  EXPECT_EQ(same.recall, 1);
  EXPECT_EQ(same.coverage, 1);
  // Each row is in the balls of those rows whose five nearest neighbours it is among, nearer than the fifth, and its
  // own.
  EXPECT_DOUBLE_EQ(same.density, 1);
  const Coverage far = coverage(real + 1e4, real, {}, ranks());
  EXPECT_EQ(values_of(far), std::vector<double>(4, 0.0));
}

TEST(Coverage, RefusesFewRows) {
  expect_refusal([] { coverage(features(5, 3, 9), features(50, 3, 9), {}, ranks()); }, "at least 6");
  expect_refusal([] { coverage(features(50, 3, 9), features(50, 4, 9), {}, ranks()); }, "one network");
}

TEST(NearestRows, EqualBruteForce) {
  const at::Tensor fake = features(300, 6, 12), real = features(5000, 6, 12, 0.2);
  const NearestRows found = nearest_rows(fake, real, ranks());
  const auto [distances, rows] = brute_distances(fake, real).min(1);
  EXPECT_TRUE(found.rows.equal(rows));
  EXPECT_TRUE(found.distances.allclose(distances.sqrt(), 1e-9));
}

TEST(InceptionScore, ClosedForms) {
  const auto score_of = [](const at::Tensor& logits, std::int64_t splits) {
    InceptionScore score(logits.size(0), logits.size(1), splits);
    for (const at::Tensor& slice : logits.split(7)) score.add(slice);
    return std::vector{score.mean(), score.deviation()};
  };
  const at::Tensor sure = torch::eye(6).repeat({20, 1}) * 1000;
  EXPECT_NEAR(score_of(sure, 1)[0], 6, 1e-12) << "sure of every sample, all classes: the number of classes";
  EXPECT_NEAR(score_of(sure, 1)[1], 0, 1e-12);
  EXPECT_NEAR(score_of(torch::zeros({50, 6}), 10)[0], 1, 1e-12) << "sure of none: 1";
  EXPECT_NEAR(score_of(sure.narrow(1, 0, 1).repeat({1, 6}), 4)[0], 1, 1e-12) << "one class: 1";
}

TEST(InceptionScore, EqualsItsDefinitionWhereSplitsAreUneven) {
  torch::manual_seed(10);
  const at::Tensor logits = torch::randn({103, 9}, torch::kDouble) * 2;
  InceptionScore score(103, 9);
  for (const at::Tensor& slice : logits.split(25)) score.add(slice);
  std::vector<double> exact;
  const at::Tensor permuted = logits.index_select(0, torch::tensor(RandomState(2020).permutation(103)));
  for (std::int64_t i = 0; i < 10; ++i) {
    const at::Tensor p = permuted.slice(0, i * 103 / 10, (i + 1) * 103 / 10).softmax(1);
    exact.push_back((p * (p.log() - p.mean(0, true).log())).sum(1).mean().exp().item<double>());
  }
  const at::Tensor all = torch::tensor(exact, torch::kDouble);
  expect_relative(score.mean(), all.mean().item<double>());
  expect_relative(score.deviation(), all.std(false).item<double>());
}

TEST(InceptionScore, TheOrderOfClassesDoesNotDecideIt) {
  // Ten classes one after the other, and in turn: consecutive splits would have one class each, or splits of every
  // tenth sample.
  const at::Tensor classes = torch::eye(10) * 1000;
  for (const at::Tensor& logits : {classes.repeat_interleave(100, 0), classes.repeat({100, 1})}) {
    InceptionScore score(1000, 10);
    for (const at::Tensor& slice : logits.split(77)) score.add(slice);
    EXPECT_GT(score.mean(), 9);
    EXPECT_LT(score.mean(), 10);
  }
}

TEST(InceptionScore, RefusesWhatDoesNotFit) {
  expect_refusal([] { InceptionScore(9, 3); }, "a split needs a sample");
  InceptionScore score(20, 3);
  score.add(torch::zeros({19, 3}));
  expect_refusal([&] { score.mean(); }, "19 of its 20");
  expect_refusal([&] { score.add(torch::zeros({2, 3})); }, "2 rows");
  expect_refusal([&] { score.add(torch::zeros({1, 4})); }, "4 class scores");
}

SearchedImages searched(const at::Tensor& images) {
  return {images.size(0), [images](std::int64_t first, std::int64_t count) { return images.narrow(0, first, count); }};
}

TEST(FeatureComparison, SpatialDistanceOfTooFewImagesHasNoValueAndSaysWhy) {
  const FeatureWidths widths{.features = 3, .spatial = 8};
  const auto described = [&](std::int64_t rows, std::uint64_t seed) {
    DescribedImages images("samples", widths, rows, even_rows(rows, 0));
    images.add(features(rows, widths.all(), seed));
    return images;
  };
  const DescribedImages real = described(40, 1);
  const FeatureReference reference{real.moments(), real.spatial()};
  const std::vector<FeatureScore> few = compare_features(described(8, 2), reference, ranks());
  ASSERT_EQ(few.size(), 2U);
  EXPECT_TRUE(std::isfinite(few[0].value));
  EXPECT_EQ(few[1].metric, "spatial_frechet_distance");
  EXPECT_TRUE(std::isnan(few[1].value));
  EXPECT_NE(few[1].details.at("warning").get<std::string>().find("at least 9 images"), std::string::npos);
  const DescribedImages enough = described(9, 2);
  EXPECT_EQ(compare_features(enough, reference, ranks())[1].value,
            frechet_distance(*enough.spatial(), *real.spatial()));
}

TEST(NearestImages, EqualBruteForce) {
  torch::manual_seed(11);
  // Larger images than a block holds many of, so that there are several blocks.
  const at::Tensor images = torch::randint(0, 256, {90, 3, 128, 128}, torch::kByte);
  at::Tensor samples = torch::randint(0, 256, {5, 3, 128, 128}, torch::kByte);
  samples[3] = images[88];
  const NearestImages found = nearest_images(samples, searched(images), 4, ranks());
  const at::Tensor exact = torch::stack([&] {
    std::vector<at::Tensor> rows;
    for (const at::Tensor& sample : samples.unbind())
      rows.push_back((images.to(torch::kDouble) - sample.to(torch::kDouble)).square().flatten(1).sum(1).sqrt());
    return rows;
  }());
  const auto [distances, rows] = exact.sort(1);
  EXPECT_TRUE(found.rows.equal(rows.narrow(1, 0, 4)));
  EXPECT_TRUE(found.distances.equal(distances.narrow(1, 0, 4)));
  EXPECT_EQ(found.rows[3][0].item<std::int64_t>(), 88);
  EXPECT_EQ(found.distances[3][0].item<double>(), 0) << "learnt by heart";
}

TEST(NearestImages, RefusesWhatDoesNotFit) {
  const at::Tensor images = torch::zeros({3, 1, 8, 8}, torch::kByte);
  expect_refusal([&] { nearest_images(images, searched(images), 4, ranks()); }, "4 nearest of 3");
  expect_refusal(
      [&] {
        nearest_images(torch::zeros({1, 1, 9, 9}, torch::kByte), searched(images), 1, ranks());
      },
      "differ in size");
  expect_refusal([&] { nearest_images(torch::zeros({1, 1, 8, 8}), searched(images), 1, ranks()); }, "8-bit");
}

}  // namespace
}  // namespace couplet
