// Figures over couplings against loops in double, closed forms and values of SciPy.
#include "method/statistics/coupling_statistics.h"

#include "method/statistics/scalar_statistics.h"
#include "pipeline/tensor/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>
#include <vector>

namespace couplet {
namespace {

constexpr std::int64_t channels = 2, height = 3, width = 4, values = channels * height * width;

std::vector<Column> columns() {
  return {{"label", ElementType::int32, {}, "class"},
          {"noise", ElementType::float32, {channels, height, width}, "noise"},
          {"image", ElementType::uint8, {channels, height, width}, "grey values"}};
}

/// Rows of skewed, correlated noise far from mean 0, and images.
struct Sample {
  std::vector<float> noise;
  std::vector<std::uint8_t> image;

  explicit Sample(std::int64_t rows) {
    for (std::int64_t row = 0; row < rows; ++row) {
      Draws draws(7, Purpose::student_noise, static_cast<std::uint64_t>(row));
      double last = 0;
      for (std::int64_t i = 0; i < values; ++i) {
        last = 0.6 * last + draws.normal();
        noise.push_back(static_cast<float>(1.5 + last + 0.2 * last * last));
        image.push_back(static_cast<std::uint8_t>(draws.below(256)));
      }
    }
  }
  void add_to(CouplingStatistics& statistics, std::int64_t rows_at_once) const {
    const auto step = static_cast<std::size_t>(rows_at_once * values);
    for (std::size_t at = 0; at < noise.size(); at += step) {
      const std::size_t count = std::min(step, noise.size() - at);
      statistics.add(std::as_bytes(std::span(noise).subspan(at, count)),
                     std::as_bytes(std::span(image).subspan(at, count)));
    }
  }
  double f(std::int64_t row, std::int64_t value) const {
    return static_cast<double>(noise[static_cast<std::size_t>(row * values + value)]);
  }
  double x(std::int64_t row, std::int64_t value) const {
    return image[static_cast<std::size_t>(row * values + value)] / 127.5 - 1;
  }
  std::int64_t rows() const { return std::ssize(noise) / values; }
};

/// Mean of powers of (value - centre).
double power_mean(const std::vector<double>& all, double centre, int power) {
  double sum = 0;
  for (const double value : all) sum += std::pow(value - centre, power);
  return sum / static_cast<double>(all.size());
}

double pearson(const std::vector<double>& a, const std::vector<double>& b) {
  const double mean_a = power_mean(a, 0, 1), mean_b = power_mean(b, 0, 1);
  double product = 0;
  for (std::size_t i = 0; i < a.size(); ++i) product += (a[i] - mean_a) * (b[i] - mean_b);
  return product / static_cast<double>(a.size()) / std::sqrt(power_mean(a, mean_a, 2) * power_mean(b, mean_b, 2));
}

/// D by its definition: the largest |share of values ≤ t (or < t) - Φ(t)| over all values t.
double brute_statistic(const std::vector<double>& all) {
  double largest = 0;
  for (const double t : all) {
    const double normal = 0.5 * (1 + std::erf(t / std::sqrt(2.0)));
    const auto share = [&](auto counted) {
      return static_cast<double>(std::ranges::count_if(all, counted)) / static_cast<double>(all.size());
    };
    largest = std::max({largest, std::abs(share([&](double v) { return v <= t; }) - normal),
                        std::abs(share([&](double v) { return v < t; }) - normal)});
  }
  return largest;
}

TEST(CouplingStatistics, EqualsLoopsOverAllRows) {
  const Sample sample(50);
  std::vector<double> all, left, right, above, below;
  std::vector<std::vector<double>> channel(channels);
  double cost = 0, images = 0, squares = 0;
  for (std::int64_t row = 0; row < 50; ++row)
    for (std::int64_t i = 0; i < values; ++i) {
      const double f = sample.f(row, i);
      all.push_back(f);
      channel[static_cast<std::size_t>(i / (height * width))].push_back(f);
      if (i % width + 1 < width) left.push_back(f), right.push_back(sample.f(row, i + 1));
      if (i / width % height + 1 < height) above.push_back(f), below.push_back(sample.f(row, i + width));
      squares += f * f;
    }
  const double sigma = std::sqrt(squares / (50.0 * values)), mean = power_mean(all, 0, 1);
  const double variance = power_mean(all, mean, 2);
  for (std::int64_t row = 0; row < 50; ++row)
    for (std::int64_t i = 0; i < values; ++i) {
      cost += std::pow(sample.f(row, i) / sigma - sample.x(row, i), 2);
      images += std::pow(sample.x(row, i), 2);
    }
  for (const std::int64_t rows_at_once : {1, 7, 50}) {
    CouplingStatistics statistics(columns(), 50);
    sample.add_to(statistics, rows_at_once);
    const auto json = statistics.to_json(std::nullopt);
    EXPECT_NEAR(statistics.sigma_f(), sigma, 1e-12);
    EXPECT_EQ(json["rows"], 50);
    EXPECT_EQ(json["nonfinite_rows"], 0);
    EXPECT_FALSE(json.contains("manifest_sigma_f"));
    EXPECT_NEAR(json["noise"]["mean"].get<double>(), mean, 1e-12);
    EXPECT_NEAR(json["noise"]["variance"].get<double>(), variance, 1e-12);
    EXPECT_NEAR(json["noise"]["skewness"].get<double>(), power_mean(all, mean, 3) / std::pow(variance, 1.5), 1e-11);
    EXPECT_NEAR(json["noise"]["excess_kurtosis"].get<double>(), power_mean(all, mean, 4) / variance / variance - 3,
                1e-11);
    for (std::size_t c = 0; c < 2; ++c) {
      const double own = power_mean(channel[c], 0, 1);
      EXPECT_NEAR(json["noise"]["channels"][c]["mean"].get<double>(), own, 1e-12);
      EXPECT_NEAR(json["noise"]["channels"][c]["variance"].get<double>(), power_mean(channel[c], own, 2), 1e-12);
    }
    EXPECT_NEAR(json["correlation"]["horizontal"].get<double>(), pearson(left, right), 1e-11);
    EXPECT_NEAR(json["correlation"]["vertical"].get<double>(), pearson(above, below), 1e-11);
    EXPECT_NEAR(json["transport_cost"]["mean"].get<double>(), cost / 50, 1e-10);
    EXPECT_NEAR(json["transport_cost"]["independent_noise"].get<double>(), values + images / 50, 1e-10);
  }
}

// Of images as models see them the cost is that of the grey values that they are.
TEST(CouplingStatistics, ImagesMayBeFloats) {
  const Sample sample(12);
  std::vector<Column> floats = columns();
  floats[2].type = ElementType::float32;
  std::vector<float> seen;
  for (const std::uint8_t grey : sample.image) seen.push_back(static_cast<float>(grey / 127.5 - 1));
  CouplingStatistics of_grey(columns(), 12), of_floats(floats, 12), of_nan(floats, 12);
  sample.add_to(of_grey, 12);
  of_floats.add(std::as_bytes(std::span(sample.noise)), std::as_bytes(std::span(seen)));
  for (const char* figure : {"mean", "independent_noise"})
    EXPECT_NEAR(of_floats.to_json(2)["transport_cost"][figure].get<double>(),
                of_grey.to_json(2)["transport_cost"][figure].get<double>(), 1e-5)
        << figure;
  seen[5 * values + 3] = std::numeric_limits<float>::quiet_NaN();
  of_nan.add(std::as_bytes(std::span(sample.noise)), std::as_bytes(std::span(seen)));
  EXPECT_EQ(of_nan.to_json(2)["nonfinite_rows"], 1);
  EXPECT_TRUE(of_nan.to_json(2)["transport_cost"]["mean"].is_number());
}

TEST(CouplingStatistics, TestsNormalityOfValuesAndProjections) {
  const Sample sample(40);
  CouplingStatistics statistics(columns(), 40);
  sample.add_to(statistics, 8);
  const double scale = 2;
  const auto json = statistics.to_json(scale);
  EXPECT_EQ(json["manifest_sigma_f"], 2);
  EXPECT_NEAR(json["sigma_f_relative_difference"].get<double>(), statistics.sigma_f() / 2 - 1, 1e-15);
  std::vector<double> all;
  for (std::int64_t row = 0; row < 40; ++row)
    for (std::int64_t i = 0; i < values; ++i) all.push_back(sample.f(row, i) / scale);
  const auto& tested = json["normality"]["values"];
  EXPECT_EQ(tested["rows"], 40);
  EXPECT_EQ(tested["values"], 40 * values);
  EXPECT_NEAR(tested["statistic"].get<double>(), brute_statistic(all), 1e-12);

  double largest = 0;
  int rejected = 0;
  for (std::uint64_t k = 0; k < 64; ++k) {
    std::vector<float> direction(values);
    fill_normal(direction, (std::uint64_t{1} << 53) + 1, Purpose::evaluation_noise, k);
    double norm = 0;
    for (const float d : direction) norm += std::pow(static_cast<double>(d), 2);
    std::vector<double> projected;
    for (std::int64_t row = 0; row < 40; ++row) {
      double product = 0;
      for (std::int64_t i = 0; i < values; ++i)
        product += static_cast<double>(direction[static_cast<std::size_t>(i)]) / std::sqrt(norm) * sample.f(row, i);
      projected.push_back(product / scale);
    }
    const double statistic = brute_statistic(projected);
    largest = std::max(largest, statistic);
    // 0.2521: the two-sided 1 % point of D for 40 values (Smirnov's table, SciPy's kstwo.ppf(0.99, 40)).
    if (statistic > 0.2521) ++rejected;
  }
  const auto& projections = json["normality"]["projections"];
  EXPECT_EQ(projections["rows"], 40);
  EXPECT_EQ(projections["projections"], 64);
  EXPECT_NEAR(projections["largest_statistic"].get<double>(), largest, 1e-6);
  EXPECT_NEAR(projections["rejected_share"].get<double>(), rejected / 64.0, 1e-12);
  EXPECT_GT(rejected, 0);
  EXPECT_LT(rejected, 64);
}

TEST(CouplingStatistics, RowsThatAreNotFiniteAreCountedAndLeftOut) {
  Sample sample(30);
  std::vector<double> kept;
  for (std::int64_t row = 0; row < 30; ++row)
    for (std::int64_t i = 0; row != 3 && row != 17 && i < values; ++i) kept.push_back(sample.f(row, i));
  sample.noise[3 * values + 5] = std::numeric_limits<float>::quiet_NaN();
  sample.noise[17 * values] = std::numeric_limits<float>::infinity();
  CouplingStatistics statistics(columns(), 30);
  sample.add_to(statistics, 30);
  const auto json = statistics.to_json(std::nullopt);
  EXPECT_EQ(json["rows"], 30);
  EXPECT_EQ(json["nonfinite_rows"], 2);
  EXPECT_NEAR(json["noise"]["mean"].get<double>(), power_mean(kept, 0, 1), 1e-12);
  EXPECT_NEAR(statistics.sigma_f(), std::sqrt(power_mean(kept, 0, 2)), 1e-12);
  EXPECT_EQ(json["normality"]["values"]["rows"], 28);
  EXPECT_EQ(json["normality"]["projections"]["rows"], 28);
  EXPECT_TRUE(std::isfinite(json["transport_cost"]["mean"].get<double>()));
}

TEST(CouplingStatistics, StripesHaveCorrelationsOfOne) {
  // Columns that change sign: against each horizontal neighbour, along with each vertical one.
  Sample sample(4);
  for (std::size_t i = 0; i < sample.noise.size(); ++i) sample.noise[i] = i % 2 == 0 ? 1 : -1;
  CouplingStatistics statistics(columns(), 4);
  sample.add_to(statistics, 4);
  const auto json = statistics.to_json(std::nullopt);
  EXPECT_NEAR(json["correlation"]["horizontal"].get<double>(), -1, 1e-12);
  EXPECT_NEAR(json["correlation"]["vertical"].get<double>(), 1, 1e-12);
  EXPECT_NEAR(json["noise"]["excess_kurtosis"].get<double>(), -2, 1e-12);
}

TEST(CouplingStatistics, OtherTablesHaveNone) {
  EXPECT_TRUE(CouplingStatistics::apply_to(columns()));
  auto without = columns();
  without.pop_back();
  EXPECT_FALSE(CouplingStatistics::apply_to(without));
  auto other_shape = columns();
  other_shape[2].shape = {height, width};
  EXPECT_FALSE(CouplingStatistics::apply_to(other_shape));
}

TEST(Normality, TailOfKolmogorovsDistribution) {
  // scipy.special.kolmogorov
  EXPECT_NEAR(kolmogorov_tail(0.3), 0.9999906941986655, 1e-12);
  EXPECT_NEAR(kolmogorov_tail(0.5), 0.9639452436648751, 1e-12);
  EXPECT_NEAR(kolmogorov_tail(1.0), 0.26999967167735456, 1e-12);
  EXPECT_NEAR(kolmogorov_tail(1.1799999), 0.1234538, 1e-5);
  EXPECT_NEAR(kolmogorov_tail(1.18), kolmogorov_tail(1.1799999), 1e-6);
  EXPECT_NEAR(kolmogorov_tail(2.0), 0.0006709252557796953, 1e-12);
  EXPECT_EQ(kolmogorov_tail(0), 1);
}

TEST(Normality, NormalValuesPassAndUniformOnesDoNot) {
  std::vector<float> normal(5000), uniform(5000);
  fill_normal(normal, 3, Purpose::student_noise, 0);
  fill_uniform(uniform, 3, Purpose::student_noise, 0);
  for (float& value : normal) value *= 3;
  EXPECT_GT(test_normal(normal, 3).p_value, 0.01);
  EXPECT_LT(test_normal(normal, 2).p_value, 1e-6);
  EXPECT_LT(test_normal(uniform, 1).p_value, 1e-6);
  EXPECT_TRUE(std::isnan(test_normal({}, 1).statistic));
}

TEST(Normality, SampledRowsAreSpreadAndDistinct) {
  for (const auto& [rows, most] : {std::pair<std::int64_t, std::int64_t>{10, 20}, {10, 10}, {11, 10}, {120000, 4096}}) {
    const RowSample sample(rows, most);
    ASSERT_EQ(sample.size(), std::min(rows, most));
    std::set<std::int64_t> seen;
    std::int64_t even = 0;
    for (std::int64_t i = 0; i < sample.size(); ++i) {
      seen.insert(sample.at(i));
      even += sample.at(i) % 2 == 0 ? 1 : 0;
      EXPECT_GE(sample.at(i), i * rows / sample.size());
      EXPECT_LT(sample.at(i), (i + 1) * rows / sample.size());
    }
    EXPECT_EQ(std::ssize(seen), sample.size());
    if (rows > 1000) {
      EXPECT_NEAR(static_cast<double>(even) / static_cast<double>(sample.size()), 0.5, 0.05);
    }
  }
  EXPECT_EQ(RowSample(std::int64_t{1} << 50, 1 << 20).at((1 << 20) - 1) >> 30, (1 << 20) - 1);
}

TEST(ScalarStatistics, HistogramAndQuantiles) {
  // 0, 1, ... 100, with rows that were not measured and one NaN between them.
  std::vector<float> column;
  for (int i = 100; i >= 0; --i) column.push_back(static_cast<float>(i));
  column.insert(column.begin() + 50, {-1, std::numeric_limits<float>::quiet_NaN(), -1});
  const ScalarColumn source{std::ssize(column), [&](std::int64_t first, std::int64_t count, std::span<float> out) {
                              std::copy_n(column.begin() + first, count, out.begin());
                            }};
  const auto json = describe_scalars(source, 0);
  EXPECT_EQ(json["rows"], 101);
  EXPECT_EQ(json["not_measured"], 2);
  EXPECT_EQ(json["nonfinite"], 1);
  EXPECT_EQ(json["mean"], 50);
  EXPECT_EQ(json["minimum"], 0);
  EXPECT_EQ(json["maximum"], 100);
  EXPECT_EQ(json["quantile_rows"], 101);
  EXPECT_NEAR(json["quantiles"]["0.01"].get<double>(), 1, 1e-12);
  EXPECT_NEAR(json["quantiles"]["0.5"].get<double>(), 50, 1e-12);
  EXPECT_NEAR(json["quantiles"]["0.95"].get<double>(), 95, 1e-12);
  std::vector<std::int64_t> expected(20, 5);
  expected.back() = 6;  // closed: 95 ... 100
  EXPECT_EQ(json["histogram"]["counts"].get<std::vector<std::int64_t>>(), expected);
  EXPECT_EQ(json["histogram"]["edges"].size(), 21);

  column = {-1, -1};
  const auto nothing = describe_scalars({2, source.read}, 0);
  EXPECT_EQ(nothing["rows"], 0);
  EXPECT_FALSE(nothing.contains("mean"));
  column = {3, 3};
  EXPECT_EQ(describe_scalars({2, source.read})["histogram"]["counts"][10], 2);
}

}  // namespace
}  // namespace couplet
