#include "pipeline/tensor/random.h"

#include "storage/error.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <map>
#include <numbers>
#include <numeric>
#include <utility>

namespace couplet {
namespace {

using Words = std::array<std::uint32_t, 4>;

std::vector<float> normals(std::size_t count, std::uint64_t seed, Purpose purpose, std::uint64_t index) {
  std::vector<float> values(count);
  fill_normal(values, seed, purpose, index);
  return values;
}

double correlation(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += double{a[i]} * double{b[i]};
  return sum / static_cast<double>(a.size());
}

/// Kolmogorov's statistic times the root of the count; beyond 1.95 in one case of a thousand.
template <class Distribution>
double kolmogorov(std::vector<float> values, Distribution distribution) {
  std::sort(values.begin(), values.end());
  const auto count = static_cast<double>(values.size());
  double largest = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double expected = distribution(double{values[i]});
    largest = std::max({largest, std::abs(expected - static_cast<double>(i) / count),
                        std::abs(expected - static_cast<double>(i + 1) / count)});
  }
  return largest * std::sqrt(count);
}

// The vectors that Random123 publishes (kat_vectors, philox4x32 10).
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Draws, WordsAreTheDocumentedBlocks) {
  const std::uint64_t seed = 0x1234567890abcdef, index = 0xfedcba0987654321;
  Draws draws(seed, Purpose::flip, index);
  for (std::uint32_t block = 0; block < 3; ++block) {
    for (const std::uint32_t word : philox({0x87654321, 0xfedcba09, 4, block}, {0x90abcdef, 0x12345678})) {
      EXPECT_EQ(draws.bits(), word);
    }
  }
}

// Bits of values that files and scores depend on: they may never change.
TEST(Draws, ValuesStayAsTheyAre) {
  const auto values = normals(4, 1, Purpose::teacher_noise, 2);
  const std::array<std::uint32_t, 4> bits = {0xbe1788fb, 0x3ea5d4b5, 0xbf029276, 0xc000eedc};
  for (std::size_t k = 0; k < 4; ++k) EXPECT_EQ(std::bit_cast<std::uint32_t>(values[k]), bits[k]) << k;
  EXPECT_EQ(permutation(8, 1, Purpose::row_order, 2), (std::vector<std::int64_t>{7, 2, 6, 0, 4, 3, 5, 1}));
}

TEST(Normal, IsBoxMullerOfTheWords) {
  std::size_t compared = 0;
  for (std::uint64_t index = 0; index < 500; ++index) {
    const auto values = normals(784, 3, Purpose::student_noise, index);
    Draws words(3, Purpose::student_noise, index), draws(3, Purpose::student_noise, index);
    for (std::size_t k = 0; k < values.size(); k += 2) {
      const double u = (words.bits() + 0.5) / 4294967296.0, angle = 2 * std::numbers::pi * words.bits() / 4294967296.0;
      const double radius = std::sqrt(-2 * std::log(u)), a = draws.normal(), b = draws.normal();
      ASSERT_NEAR(a, radius * std::cos(angle), 1e-14);
      ASSERT_NEAR(b, radius * std::sin(angle), 1e-14);
      ASSERT_EQ(values[k], static_cast<float>(a));
      ASSERT_EQ(values[k + 1], static_cast<float>(b));
      ++compared;
    }
  }
  EXPECT_EQ(compared, 500U * 392);
}

TEST(Normal, ValueDoesNotDependOnHowManyAreAsked) {
  const auto all = normals(1000, 5, Purpose::coupling_noise, 77);
  for (const std::size_t count : {0, 1, 2, 3, 5, 127, 128, 129, 255, 784, 999}) {
    const auto some = normals(count, 5, Purpose::coupling_noise, 77);
    EXPECT_TRUE(std::equal(some.begin(), some.end(), all.begin())) << count << " values";
  }
}

TEST(Normal, MomentsAndDistribution) {
  constexpr std::size_t count = 1000000;
  const auto values = normals(count, 11, Purpose::evaluation_noise, 0);
  double moments[5] = {};
  std::size_t beyond_4 = 0;
  for (const float value : values) {
    double power = 1;
    for (double& moment : moments) moment += std::exchange(power, power * double{value}) / count;
    beyond_4 += std::abs(value) > 4;
  }
  const double error = 1 / std::sqrt(static_cast<double>(count));
  EXPECT_NEAR(moments[1], 0, 4 * error);
  EXPECT_NEAR(moments[2], 1, 4 * error * std::sqrt(2));
  EXPECT_NEAR(moments[3], 0, 4 * error * std::sqrt(15));
  EXPECT_NEAR(moments[4], 3, 4 * error * std::sqrt(96));
  EXPECT_NEAR(static_cast<double>(beyond_4), 63.3, 32);
  EXPECT_LT(kolmogorov(values, [](double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); }), 1.95);
}

TEST(Normal, ManyIndicesTogetherAreNormal) {
  std::vector<float> firsts(200000);
  for (std::size_t i = 0; i < firsts.size(); ++i) firsts[i] = normals(1, 11, Purpose::time, i)[0];
  EXPECT_LT(kolmogorov(firsts, [](double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); }), 1.95);
}

TEST(Normal, IndependentAcrossPurposesIndicesSeedsAndPositions) {
  constexpr std::size_t count = 200000;
  const double bound = 4.5 / std::sqrt(static_cast<double>(count));
  const auto base = normals(count, 1, Purpose::row_order, 1);
  std::size_t compared = 0;
  for (std::uint32_t purpose = 2; purpose <= 13; ++purpose, ++compared) {
    EXPECT_LT(std::abs(correlation(base, normals(count, 1, static_cast<Purpose>(purpose), 1))), bound) << purpose;
  }
  for (const std::uint64_t other : {std::uint64_t{0}, std::uint64_t{2}, std::uint64_t{1} << 32, ~std::uint64_t{0}}) {
    EXPECT_LT(std::abs(correlation(base, normals(count, 1, Purpose::row_order, other))), bound) << other;
    EXPECT_LT(std::abs(correlation(base, normals(count, other, Purpose::row_order, 1))), bound) << other;
    ++compared;
  }
  for (const std::size_t lag : {1U, 2U, 3U, 4U, 32U, 128U}) {
    const std::vector<float> later(base.begin() + static_cast<std::ptrdiff_t>(lag), base.end());
    EXPECT_LT(std::abs(correlation({base.begin(), base.end() - static_cast<std::ptrdiff_t>(lag)}, later)), bound)
        << lag;
    ++compared;
  }
  EXPECT_EQ(compared, 22U);
}

TEST(Uniform, DistributionAndRange) {
  std::vector<float> values(1000001);
  fill_uniform(values, 2, Purpose::time, 9);
  EXPECT_GE(*std::min_element(values.begin(), values.end()), 0.0F);
  EXPECT_LT(*std::max_element(values.begin(), values.end()), 1.0F);
  EXPECT_LT(kolmogorov(values, [](double x) { return x; }), 1.95);
  std::vector<float> some(777);
  fill_uniform(some, 2, Purpose::time, 9);
  EXPECT_TRUE(std::equal(some.begin(), some.end(), values.begin()));
  Draws draws(2, Purpose::time, 9);
  for (int i = 0; i < 1000; ++i) {
    const double value = draws.uniform();
    ASSERT_NEAR(value, double{values[static_cast<std::size_t>(i)]}, 1e-7);
    ASSERT_TRUE(value > 0 && value < 1);
  }
}

TEST(Draws, BelowIsUniform) {
  Draws draws(4, Purpose::label_drop, 0);
  std::array<int, 10> counts{};
  for (int i = 0; i < 100000; ++i) ++counts.at(draws.below(10));
  double chi_square = 0;
  for (const int count : counts) chi_square += (count - 10000.0) * (count - 10000.0) / 10000;
  EXPECT_LT(chi_square, 27.9);  // 9 degrees of freedom, p = 0.001
  for (int i = 0; i < 100; ++i) EXPECT_EQ(draws.below(1), 0U);
  std::uint64_t largest = 0;
  const std::uint64_t bound = (std::uint64_t{1} << 40) + 1;
  for (int i = 0; i < 1000; ++i) {
    const std::uint64_t value = draws.below(bound);
    ASSERT_LT(value, bound);
    largest = std::max(largest, value);
  }
  EXPECT_GT(largest, bound - bound / 50);
  // More than half of the range: about half of the draws are rejected.
  for (int i = 0; i < 1000; ++i) {
    ASSERT_LT(draws.below((std::uint64_t{1} << 63) + 1), (std::uint64_t{1} << 63) + 1);
    ASSERT_LT(draws.below(0x80000001), 0x80000001U);
  }
  draws.below(std::numeric_limits<std::uint64_t>::max());
  EXPECT_THROW(draws.below(0), Error);
}

TEST(Permutation, HoldsEachNumberOnce) {
  for (const std::int64_t n : {0, 1, 2, 3, 1000, 60000}) {
    auto order = permutation(n, 6, Purpose::row_order, 3);
    EXPECT_EQ(order, permutation(n, 6, Purpose::row_order, 3));
    if (n >= 1000) {
      EXPECT_NE(order, permutation(n, 6, Purpose::row_order, 4));
      EXPECT_NE(order, permutation(n, 7, Purpose::row_order, 3));
    }
    std::sort(order.begin(), order.end());
    std::vector<std::int64_t> sorted(static_cast<std::size_t>(n));
    std::iota(sorted.begin(), sorted.end(), 0);
    EXPECT_EQ(order, sorted);
  }
  EXPECT_THROW(permutation(-1, 6, Purpose::row_order, 3), Error);
}

TEST(Permutation, AllOrdersAreEquallyLikely) {
  std::map<std::vector<std::int64_t>, int> counts;
  for (std::uint64_t epoch = 0; epoch < 24000; ++epoch) ++counts[permutation(4, 8, Purpose::row_order, epoch)];
  EXPECT_EQ(counts.size(), 24U);
  double chi_square = 0;
  for (const auto& [order, count] : counts) chi_square += (count - 1000.0) * (count - 1000.0) / 1000;
  EXPECT_LT(chi_square, 49.7);  // 23 degrees of freedom, p = 0.001
}

}  // namespace
}  // namespace couplet
