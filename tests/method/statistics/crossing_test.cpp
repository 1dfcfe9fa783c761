// How much paths cross, against closed forms of Gaussian pairs in few and in many dimensions, and of pairs of which the
// velocity bends.
#include "method/statistics/crossing.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>
#include <vector>

namespace couplet::testing {
namespace {

at::Tensor normal(std::int64_t rows, std::int64_t values, std::uint64_t seed) {
  return at::randn({rows, values}, at::make_generator<at::CPUGeneratorImpl>(seed), at::kFloat);
}

at::Tensor one_class(std::int64_t rows) {
  return at::zeros({rows}, at::kLong);
}

/// Pairs of which value j of the image has deviation a_j, and correlation ρ_j with value j of the noise.
struct GaussianPairs {
  at::Tensor deviation, correlation;  ///< float64 [values]
  at::Tensor image, noise;            ///< float32 [rows, values]

  GaussianPairs(std::int64_t rows, const at::Tensor& a, const at::Tensor& rho) : deviation(a), correlation(rho) {
    const at::Tensor u = normal(rows, a.size(0), 1).to(at::kDouble), e = normal(rows, a.size(0), 2).to(at::kDouble);
    image = (a * u).to(at::kFloat);
    noise = (rho * u + (1 - rho * rho).sqrt() * e).to(at::kFloat);
  }
  /// E‖z - x‖².
  double cost() const { return velocity_variance().sum().item<double>(); }
  /// Σ_j Var(v_j | x_t,j) = Var v - Cov(v, x_t)² / Var x_t.
  double unexplained(double t) const {
    const at::Tensor a2 = deviation.square(), c = correlation * deviation;  // c = Cov(x, z)
    const at::Tensor covariance = (1 - t) * (c - a2) + t * (1 - c);
    const at::Tensor variance = (1 - t) * (1 - t) * a2 + 2 * t * (1 - t) * c + t * t;
    return (velocity_variance() - covariance.square() / variance).sum().item<double>();
  }

private:
  at::Tensor velocity_variance() const { return deviation.square() + 1 - 2 * correlation * deviation; }
};

/// Deviations from 0.2 to 3, correlations from `lowest` to `highest`, in another order.
GaussianPairs gaussian_pairs(std::int64_t rows, std::int64_t values, double lowest, double highest) {
  const at::Tensor place = at::linspace(0, 1, values, at::kDouble);
  return {rows, 0.2 + 2.8 * place.square(), lowest + (highest - lowest) * (place * 7.3).frac()};
}

TEST(Crossing, IsTheClosedFormOfGaussianPairsInAnyDimension) {
  for (const auto& [rows, values] : {std::pair<std::int64_t, std::int64_t>{4000, 2}, {2000, 40}, {1000, 400}}) {
    for (const auto& [lowest, highest] : {std::pair{0.0, 0.0}, {0.3, 0.95}, {-0.8, 0.2}}) {
      const GaussianPairs pairs = gaussian_pairs(rows, values, lowest, highest);
      const Crossing found = measure_crossing(pairs.image, pairs.noise, one_class(rows));
      EXPECT_EQ(found.regressors, values);
      EXPECT_EQ(found.projected_from, 0);
      ASSERT_EQ(found.times, (std::vector<double>{0.1, 0.3, 0.5, 0.7, 0.9}));
      double mean = 0;
      for (std::size_t i = 0; i < 5; ++i) {
        const double expected = pairs.unexplained(found.times[i]) / pairs.cost();
        EXPECT_NEAR(found.at_times[i], expected, 0.06 * expected)
            << values << " values, ρ from " << lowest << ", t " << found.times[i];
        mean += found.at_times[i] / 5;
      }
      EXPECT_NEAR(found.share, mean, 1e-12);
    }
  }
}

TEST(Crossing, IndependentUnitGaussiansCrossByHalfOfOneOverTheVarianceOnTheWay) {
  const std::int64_t rows = 3000, values = 100;
  const Crossing found = measure_crossing(normal(rows, values, 1), normal(rows, values, 2), one_class(rows));
  for (std::size_t i = 0; i < 5; ++i) {
    const double t = found.times[i];
    EXPECT_NEAR(found.at_times[i], 1 / (2 * ((1 - t) * (1 - t) + t * t)), 0.01);
  }
}

TEST(Crossing, MonotonePairsDoNotCross) {
  for (const std::int64_t values : {1, 3, 300}) {
    const GaussianPairs pairs = gaussian_pairs(1000, values, 1, 1);
    EXPECT_LT(measure_crossing(pairs.image, pairs.noise, one_class(1000)).share, 1e-6) << values;
  }
}

TEST(Crossing, OppositesMeetInOnePoint) {
  // z = -x: at t = 1/2 every path is at 0; at every other time x_t says which it is.
  const at::Tensor image = normal(500, 20, 3);
  const Crossing found = measure_crossing(image, -image, one_class(500));
  for (std::size_t i = 0; i < 5; ++i) EXPECT_NEAR(found.at_times[i], i == 2 ? 1 : 0, 0.02) << found.times[i];
}

TEST(Crossing, KnowsTheClass) {
  // Classes at other places: all of what separates them is known, and adds to the cost alone.
  const std::int64_t rows = 3000, values = 30, classes = 5;
  GaussianPairs pairs = gaussian_pairs(rows, values, 0.1, 0.6);
  const at::Tensor label = at::arange(rows).remainder(classes) * 3 + 2;
  const at::Tensor image_means = 4 * normal(classes, values, 5), noise_means = normal(classes, values, 6);
  const at::Tensor number = at::arange(rows).remainder(classes);
  const at::Tensor image = pairs.image + image_means.index_select(0, number);
  const at::Tensor noise = pairs.noise + noise_means.index_select(0, number);
  const double cost = pairs.cost() + (noise_means - image_means).square().sum().item<double>() / classes;
  const Crossing found = measure_crossing(image, noise, label);
  for (std::size_t i = 0; i < 5; ++i) {
    const double expected = pairs.unexplained(found.times[i]) / cost;
    EXPECT_NEAR(found.at_times[i], expected, 0.06 * expected) << found.times[i];
  }
}

/// ∫ Var(v | x_t) p(x_t) dx_t of x = ±1/2 with z ~ N(0, 1): v = (x_t - x) / t, 2 E[x | x_t] = tanh((1 - t) x_t / 2t²).
double two_points_unexplained(double t) {
  double sum = 0;
  const double step = 1e-3;
  for (double x_t = -8; x_t < 8; x_t += step) {
    const auto density = [&](double x) {
      return std::exp(-std::pow((x_t - (1 - t) * x) / t, 2) / 2) / (t * std::sqrt(2 * std::numbers::pi));
    };
    const double mean = std::tanh((1 - t) * x_t / (2 * t * t));
    sum += step * (density(0.5) + density(-0.5)) / 2 * (1 - mean * mean) / (4 * t * t);
  }
  return sum;
}

TEST(Crossing, NeighboursSeeWhereTheVelocityBends) {
  const std::int64_t rows = 4000;
  const at::Tensor image = (at::arange(rows).remainder(2).to(at::kFloat) - 0.5).unsqueeze(1);
  const Crossing found = measure_crossing(image, normal(rows, 1, 9), one_class(rows));
  for (std::size_t i = 0; i < 5; ++i)
    EXPECT_NEAR(found.at_times[i], two_points_unexplained(found.times[i]) / 1.25, 0.04) << found.times[i];
  // At t = 0.1 all but a few paths are told apart; the best affine field leaves 0.25 / (0.2025 + 0.01) of 1.25.
  EXPECT_LT(found.at_times[0], 0.01);
}

TEST(Crossing, IsAnUpperBoundWhereTheRowsAreFew) {
  const std::int64_t rows = 301, values = 600;
  const Crossing found = measure_crossing(normal(rows, values, 1), normal(rows, values, 2), one_class(rows));
  EXPECT_EQ(found.regressors, 150);
  EXPECT_EQ(found.projected_from, values);
  for (std::size_t i = 0; i < 5; ++i) {
    const double t = found.times[i], exact = 1 / (2 * ((1 - t) * (1 - t) + t * t));
    // A quarter of the directions tells a quarter of what all would.
    EXPECT_NEAR(found.at_times[i], 1 - (1 - exact) / 4, 0.02) << t;
  }
}

TEST(Crossing, ValuesThatRepeatOthersOrNeverVaryChangeNothing) {
  const at::Tensor image = normal(800, 10, 1), noise = normal(800, 10, 2);
  const auto widened = [](const at::Tensor& rows) { return at::cat({rows, 1000 * rows, at::full({800, 3}, 7)}, 1); };
  const Crossing found = measure_crossing(widened(image), widened(noise), one_class(800));
  const Crossing expected = measure_crossing(image, noise, one_class(800));
  for (std::size_t i = 0; i < 5; ++i) EXPECT_NEAR(found.at_times[i], expected.at_times[i], 0.03);
}

TEST(Crossing, TooFewRowsHaveNone) {
  const Crossing found = measure_crossing(normal(2, 5, 1), normal(2, 5, 2), at::arange(2));
  EXPECT_TRUE(std::isnan(found.share));
  for (const double share : found.at_times) EXPECT_TRUE(std::isnan(share));
}

TEST(Crossing, IsTheSameBitsOnAnyNumberOfThreads) {
  const GaussianPairs pairs = gaussian_pairs(700, 90, 0, 0.7);
  const at::Tensor label = at::arange(700).remainder(7);
  const int before = at::get_num_threads();
  std::vector<std::vector<double>> shares;
  for (const int threads : {1, 2, 3}) {
    at::set_num_threads(threads);
    shares.push_back(measure_crossing(pairs.image, pairs.noise, label).at_times);
  }
  at::set_num_threads(before);
  EXPECT_EQ(shares[1], shares[0]);
  EXPECT_EQ(shares[2], shares[0]);
}

}  // namespace
}  // namespace couplet::testing
