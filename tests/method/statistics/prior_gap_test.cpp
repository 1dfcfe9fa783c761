// How far a table's noise is from N(0, I), against closed forms of noise that is made by a known map.
#include "method/statistics/prior_gap.h"

#include "method/tables/coupling_table.h"
#include "pipeline/distributed/slices.h"
#include "tests/method/couplings/written_table.h"
#include "tests/pipeline/pipeline_testing.h"
#include "tests/pipeline/ranks.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numbers>
#include <string>

namespace couplet::testing {
namespace {

constexpr std::int64_t size = 4, d = size * size, classes = 3;
constexpr double sigma_f = 1.7;

at::Tensor normal(at::IntArrayRef shape, std::uint64_t seed) {
  return at::randn(shape, at::make_generator<at::CPUGeneratorImpl>(seed), at::kDouble);
}

/// Noise of unit variance with labels in turn, and what a model said of its rows.
struct Rows {
  at::Tensor z;                     ///< float64 [n, d]
  double nll = -1, nll_spread = 0;  ///< nats a value, and its deviation
};

/// A run's table on the disk, written by rank 0, with σ_f taken into the noise.
class Tables {
public:
  Tables(const Rows& train, const Rows& test) {
    write("train", train);
    write("test", test);
    ranks().barrier();
  }
  RowTable open(const std::string& split) const { return RowTable(folder_ / split, coupling_format); }

private:
  void write(const std::string& split, const Rows& rows) const {
    const std::filesystem::path directory = folder_ / split;
    if (!ranks().is_root()) return;
    const std::vector<Column> all = coupling_columns({1, size, classes, {}}, ElementType::float32);
    std::vector<Column> columns;
    for (const char* name : {"noise", "label", "nll"})
      columns.push_back(*std::ranges::find(all, std::string(name), &Column::name));
    const std::int64_t n = rows.z.size(0);
    const at::Tensor nll = rows.nll + rows.nll_spread * normal({n}, 77);
    write_table(directory, coupling_format, columns,
                {(rows.z * sigma_f).to(at::kFloat).view({n, 1, size, size}),
                 at::arange(n).remainder(classes).to(columns[1].type == ElementType::int64 ? at::kLong : at::kInt),
                 nll.to(at::kFloat)},
                64, {{"test", true}}, {{"sigma_f", sigma_f}});
  }

  SharedDirectory folder_;
};

struct Found {
  NoiseFit fit;
  SplitGap train, test;
};

Found measure(const Tables& tables, Communicator& communicator = ranks(), std::int64_t most = 0) {
  const auto sum = [&](std::int64_t rows, std::int64_t figures, const auto& figures_of) {
    at::Tensor total = at::zeros({figures}, at::kDouble);
    for_each_slice(
        communicator, {.rows = rows, .slice_rows = 50, .columns = figures, .stopped = ""},
        [&](std::int64_t first) { return figures_of(first, 50); },
        [&](const at::Tensor& values) { total += values.sum(0); });
    return total;
  };
  const RowTable train = tables.open("train"), test = tables.open("test");
  const NoiseSample fitted(train, sigma_f, most), held_out(test, sigma_f, most);
  Found found{fit_noise(fitted, classes, communicator), {}, {}};
  found.train = measure_gap(found.fit, fitted, sum);
  found.test = measure_gap(found.fit, held_out, sum);
  return found;
}

/// What `model` gains on held-out rows is `nats`, but for chance and for what fitting so many numbers a class costs.
void expect_nats(const Found& found, NoiseModel model, double nats, double numbers) {
  const MeanEstimate gained = found.test.nats_of(model);
  const double cost = numbers / (2 * found.fit.rows.min().item<double>());
  EXPECT_GT(gained.standard_error, 0);
  EXPECT_LT(gained.standard_error, 0.1) << "says little";
  EXPECT_NEAR(gained.value, nats, 3 * gained.standard_error + 2 * cost) << static_cast<std::int64_t>(model);
}

at::Tensor labels(std::int64_t n) {
  return at::arange(n).remainder(classes);
}

TEST(PriorGap, KnownMeansAndDeviationsGainTheirNats) {
  const at::Tensor means = 0.2 * normal({classes, d}, 1), deviations = (0.15 * normal({classes, d}, 2)).exp();
  const auto made = [&](std::int64_t n, std::uint64_t seed) {
    return Rows{means.index_select(0, labels(n)) + deviations.index_select(0, labels(n)) * normal({n, d}, seed)};
  };
  const Found found = measure(Tables(made(9000, 3), made(3000, 4)));
  const double of_means = means.square().sum(1).mean().item<double>() / 2;
  const double of_deviations = (deviations.square() - 1 - deviations.square().log()).sum(1).mean().item<double>() / 2;
  expect_nats(found, NoiseModel::class_means, of_means, d);
  expect_nats(found, NoiseModel::class_deviations, of_means + of_deviations, 2 * d);
  expect_nats(found, NoiseModel::class_covariance, of_means + of_deviations, d + d * (d + 1) / 2.0);
  EXPECT_GT(found.test.nats_of(NoiseModel::class_deviations).value, found.test.nats_of(NoiseModel::covariance).value)
      << "one covariance knows no class's deviations";
}

TEST(PriorGap, KnownCovarianceGainsItsNats) {
  const at::Tensor map = at::eye(d, at::kDouble) + 0.06 * normal({d, d}, 5), covariance = map.matmul(map.t());
  const auto made = [&](std::int64_t n, std::uint64_t seed) { return Rows{normal({n, d}, seed).matmul(map.t())}; };
  const Found found = measure(Tables(made(9000, 6), made(3000, 7)));
  const double nats =
      (covariance.diagonal().sum() - d - std::get<1>(at::linalg_slogdet(covariance))).item<double>() / 2;
  ASSERT_GT(nats, 0.2);
  expect_nats(found, NoiseModel::covariance, nats, d + d * (d + 1) / 2.0 / classes);
  expect_nats(found, NoiseModel::class_covariance, nats, d + d * (d + 1) / 2.0);
  expect_nats(found, NoiseModel::class_means, 0, d);
}

TEST(PriorGap, NormalNoiseHasNone) {
  const Rows train{normal({6000, d}, 8)}, test{normal({3000, d}, 9)};
  const Found found = measure(Tables(train, test));
  for (const auto& [model, numbers] : {std::pair{NoiseModel::class_means, 1.0 * d},
                                       {NoiseModel::class_deviations, 2.0 * d},
                                       {NoiseModel::covariance, d + d * (d + 1) / 2.0},
                                       {NoiseModel::class_covariance, d + d * (d + 1) / 2.0}})
    expect_nats(found, model, 0, numbers);
  EXPECT_NEAR(found.test.square.value, 1, 3 * found.test.square.standard_error);
  EXPECT_NEAR(found.test.square_deviation, std::sqrt(2.0 / d), 0.1 * std::sqrt(2.0 / d));
  EXPECT_NEAR(found.test.skewness, 0, 5 * std::sqrt(6.0 / (3000 * d)));
  EXPECT_NEAR(found.test.kurtosis, 3, 5 * std::sqrt(24.0 / (3000 * d)));
  EXPECT_NEAR(gap_frechet(found.fit), normal_frechet(found.fit), 0.3 * normal_frechet(found.fit));
  EXPECT_FALSE(compare_splits(found.train, found.test).is_clear());
  // log N(z; 0, I), value by value.
  const at::Tensor stored = (test.z * sigma_f).to(at::kFloat).to(at::kDouble) / sigma_f;
  const double log_density = (-0.5 * std::log(2 * std::numbers::pi) - stored.square() / 2).sum(1).mean().item<double>();
  EXPECT_NEAR(found.test.log_density().value, log_density, 1e-9);
  EXPECT_NEAR(found.test.normal_log_density(), -0.5 * d * (1 + std::log(2 * std::numbers::pi)), 1e-9);
}

TEST(PriorGap, HeavyTailsShowInTheKurtosisAndNotInTheCovariance) {
  // Signs times constants and noise: unit variance, kurtosis 3 - 2 a⁴ for z = a s + √(1 - a²) ε.
  const double a = std::sqrt(0.5);
  const auto made = [&](std::int64_t n, std::uint64_t seed) {
    return Rows{a * normal({n, d}, seed).sign() + std::sqrt(1 - a * a) * normal({n, d}, seed + 100)};
  };
  const Found found = measure(Tables(made(6000, 10), made(3000, 11)));
  EXPECT_NEAR(found.test.kurtosis, 3 - 2 * std::pow(a, 4), 0.05);
  expect_nats(found, NoiseModel::class_covariance, 0, d + d * (d + 1) / 2.0);
}

TEST(PriorGap, CovariancesAreThoseOfTheRowsWithTheWeightOfLedoitAndWolf) {
  const Rows train{normal({240, d}, 12).matmul(at::eye(d, at::kDouble) + 0.2 * normal({d, d}, 13))};
  const Found found = measure(Tables(train, Rows{normal({90, d}, 14)}));
  const at::Tensor z = (train.z * sigma_f).to(at::kFloat).to(at::kDouble) / sigma_f;
  for (std::int64_t label = 0; label < classes; ++label) {
    const at::Tensor rows = z.index({labels(240) == label}), x = rows - rows.mean(0);
    const auto n = static_cast<double>(x.size(0));
    const at::Tensor covariance = x.t().matmul(x) / n, eye = at::eye(d, at::kDouble);
    double error = 0;
    for (std::int64_t row = 0; row < x.size(0); ++row)
      error += (at::outer(x[row], x[row]) - covariance).square().sum().item<double>() / n / n;
    const double level = covariance.diagonal().mean().item<double>();
    const double weight = std::min(1.0, error / (covariance - level * eye).square().sum().item<double>());
    EXPECT_NEAR(found.fit.by_class.weight[label].item<double>(), weight, 1e-9);
    const at::Tensor shrunk = (n * ((1 - weight) * covariance + weight * level * eye) + eye) / (n + 1);
    const at::Tensor vectors = found.fit.by_class.vectors[label];
    const at::Tensor again = vectors.matmul(found.fit.by_class.shrunk[label].diag()).matmul(vectors.t());
    EXPECT_LT((again - shrunk).abs().max().item<double>(), 1e-9);
  }
  // The density of a held-out row, by inverse and determinant.
  const NoiseRows row{normal({1, d}, 15), at::tensor({1}, at::kLong), {}};
  const at::Tensor spectrum = found.fit.by_class.shrunk[1], vectors = found.fit.by_class.vectors[1];
  const at::Tensor covariance = vectors.matmul(spectrum.diag()).matmul(vectors.t()), x = row.z - found.fit.mean[1];
  const double expected = ((row.z.square().sum() - x.matmul(at::linalg_inv(covariance)).matmul(x.t()).sum() -
                            std::get<1>(at::linalg_slogdet(covariance))) /
                           2)
                              .item<double>();
  EXPECT_NEAR(nats_gained(found.fit, row)[0][static_cast<std::int64_t>(NoiseModel::class_covariance)].item<double>(),
              expected, 1e-9);
}

TEST(PriorGap, AnOverfittedTeacherIsNamed) {
  const at::Tensor train = normal({3000, d}, 16), test = normal({1500, d}, 17);
  const double difference = 1.0 / d;  // one nat a row
  const Found found = measure(Tables({train, -1, 0.02}, {test, -1 + difference, 0.02}));
  const Overfitting overfitting = compare_splits(found.train, found.test);
  ASSERT_TRUE(overfitting.nll);
  EXPECT_NEAR(overfitting.nll->value, 1, 3 * overfitting.nll->standard_error);
  EXPECT_NEAR(overfitting.nll->standard_error, 0.02 * d * std::sqrt(1.0 / 3000 + 1.0 / 1500), 0.002);
  EXPECT_TRUE(overfitting.is_clear());
  EXPECT_TRUE(gap_json(found.fit, found.train, found.test).at("overfitted").get<bool>());
  // Not where it is too little to matter, within chance, or the other way round.
  for (const auto& [of_test, spread] :
       {std::pair{-1 + 0.3 * difference, 0.001}, {-1 + difference, 3.0}, {-2.0, 0.02}}) {
    const Found other = measure(Tables({train, -1, spread}, {test, of_test, spread}));
    EXPECT_FALSE(compare_splits(other.train, other.test).is_clear()) << of_test << ", " << spread;
  }
}

TEST(PriorGap, DigitsDoNotDependOnRanks) {
  const Tables tables({normal({700, d}, 18) * 1.1, -1, 0.1}, {normal({330, d}, 19) * 1.2, -1, 0.1});
  const auto alone = make_single_communicator();
  const auto text = [&](Communicator& communicator, std::int64_t most) {
    const Found found = measure(tables, communicator, most);
    return gap_json(found.fit, found.train, found.test).dump(1);
  };
  EXPECT_EQ(text(ranks(), 0), text(*alone, 0));
  EXPECT_EQ(text(ranks(), 200), text(*alone, 200));
  EXPECT_EQ(measure(tables, ranks(), 200).train.rows, 200);
}

TEST(PriorGap, RowsThatAreNotFiniteAreLeftOutAndCounted) {
  at::Tensor train = normal({300, d}, 20), test = normal({150, d}, 21);
  const Found whole = measure(Tables({train.slice(0, 3)}, {test.slice(0, 3)}));
  for (at::Tensor* rows : {&train, &test})
    rows->slice(0, 0, 3).select(1, 5).fill_(std::numeric_limits<double>::quiet_NaN());
  const Found found = measure(Tables({train}, {test}));
  EXPECT_EQ(found.train.nonfinite, 3);
  EXPECT_EQ(found.test.rows, 147);
  EXPECT_NEAR(found.test.nats_of(NoiseModel::class_covariance).value,
              whole.test.nats_of(NoiseModel::class_covariance).value, 1e-9);
  EXPECT_NEAR(found.test.square.value, whole.test.square.value, 1e-12);
}

}  // namespace
}  // namespace couplet::testing
