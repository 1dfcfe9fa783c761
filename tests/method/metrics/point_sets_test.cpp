// Distances between sets of points against loops over all pairs and all permutations.
#include "method/metrics/point_sets.h"

#include "tests/storage/storage_testing.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

namespace couplet::testing {
namespace {

double distance_of(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).norm().item<double>();
}

/// The mean over the pairs of different rows of one set, or over all pairs of two.
double mean_distance(const at::Tensor& a, const at::Tensor& b, bool one_set) {
  double sum = 0;
  std::int64_t pairs = 0;
  for (std::int64_t i = 0; i < a.size(0); ++i)
    for (std::int64_t j = 0; j < b.size(0); ++j) {
      if (one_set && i == j) continue;
      sum += distance_of(a[i], b[j]);
      ++pairs;
    }
  return sum / static_cast<double>(pairs);
}

TEST(PointSets, EnergyDistanceIsThatOfAllPairs) {
  at::manual_seed(1);
  const at::Tensor a = at::randn({9, 2}), b = at::randn({300, 2}) + 0.5;
  const double expected = 2 * mean_distance(a, b, false) - mean_distance(a, a, true) - mean_distance(b, b, true);
  EXPECT_NEAR(energy_distance(a, b), expected, 1e-9);
}

TEST(PointSets, EnergyDistanceOfOneDistributionIsZeroInTheMean) {
  at::manual_seed(2);
  double sum = 0, squares = 0;
  constexpr int sets = 200;
  for (int i = 0; i < sets; ++i) {
    const double found = energy_distance(at::randn({20, 2}), at::randn({30, 2}));
    sum += found / sets;
    squares += found * found / sets;
  }
  EXPECT_NEAR(sum, 0, 4 * std::sqrt(squares / sets));
}

TEST(PointSets, WassersteinDistanceIsThatOfTheBestPermutation) {
  at::manual_seed(3);
  const at::Tensor a = at::randn({6, 2}), b = at::randn({6, 2}) * 2;
  std::vector<std::int64_t> order(6);
  std::iota(order.begin(), order.end(), 0);
  double least = std::numeric_limits<double>::infinity();
  do {
    double cost = 0;
    for (std::int64_t i = 0; i < 6; ++i) cost += std::pow(distance_of(a[i], b[order[static_cast<std::size_t>(i)]]), 2);
    least = std::min(least, cost);
  } while (std::ranges::next_permutation(order).found);
  EXPECT_NEAR(wasserstein_distance(a, b), std::sqrt(least / 6), 1e-9);
}

TEST(PointSets, MovedPointsAreAsFarAsTheyWereMoved) {
  at::manual_seed(4);
  const at::Tensor a = at::randn({50, 2}, at::kDouble);
  EXPECT_NEAR(wasserstein_distance(a, a + at::tensor({3.0, 4.0}, at::kDouble)), 5, 1e-9);
  EXPECT_NEAR(wasserstein_distance(a, a.flip(0)), 0, 1e-9);
}

TEST(PointSets, SetsThatCannotBeComparedAreRefused) {
  const at::Tensor a = at::zeros({3, 2});
  expect_error([&] { energy_distance(a, at::zeros({3, 3})); }, {"[3, 2]", "[3, 3]", "one dimension"});
  expect_error([&] { energy_distance(a, at::zeros({1, 2})); }, {"at least 2 points"});
  expect_error([&] { wasserstein_distance(a, at::zeros({4, 2})); }, {"3 and 4 points", "equally many"});
}

}  // namespace
}  // namespace couplet::testing
