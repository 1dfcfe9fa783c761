// Couplings judged by their pairs, against loops in double and closed forms.
#include "method/statistics/coupling_quality.h"

#include "method/statistics/normality.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace couplet::testing {
namespace {

using Json = nlohmann::ordered_json;

at::Tensor drawn(at::IntArrayRef shape, std::uint64_t seed) {
  return at::randn(shape, at::make_generator<at::CPUGeneratorImpl>(seed), at::kFloat);
}

double number(const Json& json, const char* pointer) {
  return json.at(Json::json_pointer(pointer)).get<double>();
}

std::vector<float> values_of(const at::Tensor& rows) {
  const at::Tensor all = rows.contiguous();
  return {all.const_data_ptr<float>(), all.const_data_ptr<float>() + all.numel()};
}

constexpr std::int64_t rows = 600, channels = 2, size = 4, values = channels * size * size, classes = 4;

/// Images of classes, each with noise of its own.
struct Sample {
  at::Tensor image = 0.5 * drawn({rows, channels, size, size}, 1), noise = drawn({rows, channels, size, size}, 2);
  at::Tensor label = at::arange(rows).remainder(classes) + 10;
  Json judged() const { return judge_pairs(image, noise, label); }
};

TEST(CouplingQuality, TransportCostBesideThatOfIndependentPairs) {
  Sample sample;
  sample.noise = sample.image * 2 + 0.25f;
  const Json found = sample.judged();
  double squared = 0, distance = 0, others = 0;
  const at::Tensor x = sample.image.flatten(1).to(at::kDouble), z = sample.noise.flatten(1).to(at::kDouble);
  for (std::int64_t row = 0; row < rows; ++row) {
    const double cost = (z[row] - x[row]).square().sum().item<double>();
    squared += cost / rows;
    distance += std::sqrt(cost) / rows;
    others += (z - x[row]).square().sum(1).mean().item<double>() / rows;
  }
  EXPECT_NEAR(number(found, "/transport_cost/squared"), squared, 1e-9);
  EXPECT_NEAR(number(found, "/transport_cost/distance"), distance, 1e-9);
  // One order of the noises stands for all pairs.
  EXPECT_NEAR(number(found, "/transport_cost/independent_squared"), others, 0.05 * others);
  EXPECT_NEAR(number(found, "/transport_cost/ratio"), squared / number(found, "/transport_cost/independent_squared"),
              1e-12);
  EXPECT_LT(number(found, "/transport_cost/ratio"), 0.3);
  EXPECT_LT(number(found, "/transport_cost/independent_distance"), std::sqrt(others));
  EXPECT_NEAR(number(Sample().judged(), "/transport_cost/ratio"), 1, 0.02) << "of pairs that are independent";
}

TEST(CouplingQuality, NormalityOfAllAndOfEachClass) {
  Sample sample;
  const at::Tensor odd_class = sample.label == 12;
  sample.noise = at::where(odd_class.view({rows, 1, 1, 1}), 1.5 * sample.noise + 0.5, sample.noise).to(at::kFloat);
  const Json found = sample.judged();
  const at::Tensor z = sample.noise.to(at::kDouble), centred = z - z.mean();
  const double variance = centred.square().mean().item<double>();
  EXPECT_NEAR(number(found, "/normality/mean"), z.mean().item<double>(), 1e-12);
  EXPECT_NEAR(number(found, "/normality/variance"), variance, 1e-12);
  EXPECT_NEAR(number(found, "/normality/skewness"), centred.pow(3).mean().item<double>() / std::pow(variance, 1.5),
              1e-10);
  EXPECT_NEAR(number(found, "/normality/excess_kurtosis"),
              centred.pow(4).mean().item<double>() / variance / variance - 3, 1e-10);
  const at::Tensor means = z.flatten(1).mean(0), variances = z.flatten(1).var(0, false);
  EXPECT_NEAR(number(found, "/normality/mean_spread"), means.std(false).item<double>(), 1e-12);
  EXPECT_NEAR(number(found, "/normality/variance_spread"), variances.std(false).item<double>(), 1e-12);
  EXPECT_EQ(number(found, "/normality/rows"), rows);
  EXPECT_NEAR(number(found, "/normality/statistic"), test_normal(values_of(sample.noise), 1).statistic, 1e-12);
  EXPECT_EQ(found.at("normality").at("worst_class"), 12);
  const at::Tensor own = sample.noise.index_select(0, odd_class.nonzero().flatten());
  const Json& described = found.at("normality").at("classes").at(2);
  EXPECT_EQ(described.at("label"), 12);
  EXPECT_EQ(described.at("rows"), rows / classes);
  EXPECT_NEAR(described.at("mean").get<double>(), own.to(at::kDouble).mean().item<double>(), 1e-12);
  EXPECT_NEAR(described.at("variance").get<double>(), own.to(at::kDouble).var(false).item<double>(), 1e-12);
  EXPECT_NEAR(described.at("statistic").get<double>(), test_normal(values_of(own), 1).statistic, 1e-12);
  EXPECT_EQ(found.at("normality").at("worst_class_statistic"), described.at("statistic"));
  EXPECT_LT(found.at("normality").at("classes").at(0).at("statistic").get<double>(), 0.03);
}

TEST(CouplingQuality, NoiseThatKnowsTheLabel) {
  const Json independent = Sample().judged();
  EXPECT_EQ(number(independent, "/label/classes"), classes);
  EXPECT_NEAR(number(independent, "/label/expected"), 3.0 / 599, 1e-12);
  EXPECT_NEAR(number(independent, "/label/dependence"), 0, 0.003);
  EXPECT_NEAR(number(independent, "/label/chance"), 0.25, 1e-12);
  EXPECT_NEAR(number(independent, "/label/accuracy"), 0.25, 0.08);

  // Classes at ±1/2 in all values: the classes' variance is 1/4, that within 1; means are 32 · (1/2)² · 4 apart.
  Sample sample;
  sample.label = at::arange(rows).remainder(3).eq(0).to(at::kLong);
  sample.noise += (sample.label.to(at::kFloat) - 0.5).view({rows, 1, 1, 1});
  const Json found = sample.judged();
  const double between = 2.0 / 9;  // of a third of the rows at 1/2, the others at -1/2
  EXPECT_NEAR(number(found, "/label/dependence"), between / (1 + between), 0.02);
  EXPECT_NEAR(number(found, "/label/chance"), 2.0 / 3, 1e-12);
  // The middle between the means is √32 / 2 deviations away from each.
  EXPECT_NEAR(number(found, "/label/accuracy"), 0.9977, 0.01);
}

TEST(CouplingQuality, LeavesOutRowsThatAreNotFiniteAndPairsThatCameBefore) {
  const Sample sample;
  const auto with = [](const at::Tensor& all, const at::Tensor& more) {
    return at::cat({all, more, all.narrow(0, 0, 5)});
  };
  at::Tensor broken = sample.noise.narrow(0, 0, 2).clone();
  broken[0][1][2][3] = std::numeric_limits<float>::quiet_NaN();
  broken[1][0][0][0] = std::numeric_limits<float>::infinity();
  Json found = judge_pairs(with(sample.image, sample.image.narrow(0, 0, 2)), with(sample.noise, broken),
                           with(sample.label, sample.label.narrow(0, 0, 2)));
  EXPECT_EQ(found.at("nonfinite_rows"), 2);
  EXPECT_EQ(found.at("repeated_rows"), 5);
  Json expected = sample.judged();
  EXPECT_EQ(expected.at("repeated_rows"), 0);
  for (Json* json : {&found, &expected}) {
    json->erase("nonfinite_rows");
    json->erase("repeated_rows");
  }
  EXPECT_EQ(found, expected);
  EXPECT_EQ(found.at("rows"), rows);
}

TEST(CouplingQuality, CrossingIsThatOfItsRows) {
  const Json found = Sample().judged();
  EXPECT_EQ(number(found, "/crossing/regressors"), values);
  // Independent Gaussians of deviations 1/2 and 1 at t = 1/2: 1 - (1 - 1/4)² / (1 + 1/4)².
  EXPECT_NEAR(number(found, "/crossing/shares/2"), 1 - std::pow(0.75 / 1.25, 2), 0.02);
  EXPECT_EQ(found.at("crossing").at("times").at(2), 0.5);
}

TEST(CouplingQuality, OneRowOrNoneHasNoFigures) {
  const Sample sample;
  for (const std::int64_t few : {0, 1}) {
    const Json found =
        judge_pairs(sample.image.narrow(0, 0, few), sample.noise.narrow(0, 0, few), sample.label.narrow(0, 0, few));
    EXPECT_EQ(found.at("rows"), few);
    EXPECT_FALSE(found.contains("crossing"));
  }
}

TEST(CouplingQuality, RowsAreBoundedByTheirValues) {
  EXPECT_EQ(judged_rows(784), 4096);
  EXPECT_EQ(judged_rows(4096), 4096);
  EXPECT_EQ(judged_rows(3 * 64 * 64), (1 << 24) / (3 * 64 * 64));
  EXPECT_EQ(judged_rows(std::int64_t{1} << 30), 1);
}

}  // namespace
}  // namespace couplet::testing
