// Maps of noise against closed forms: what they close of a known gap to N(0, I), and their determinants; on any number
// of ranks.
#include "method/gaussianisation/gaussian_map.h"

#include "pipeline/tensor/random.h"
#include "storage/error.h"
#include "tests/pipeline/ranks.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <numbers>
#include <string>
#include <vector>

namespace couplet {
namespace {

constexpr std::int64_t classes = 3, fitted_rows = 40000, judged_rows = 8000, row_values = 8;
const std::vector<std::int64_t> row_shape{2, 2, 2};

GaussianMapOptions options_of(double prior = 1) {
  GaussianMapOptions options;
  options.shape = row_shape;
  options.classes = classes;
  options.affine_prior = prior;
  options.flow = {.in_channels = 2,
                  .image_size = 2,
                  .patch = 1,
                  .channels = 8,
                  .blocks = 2,
                  .layers = {1},
                  .head_size = 4,
                  .num_classes = classes};
  return options;
}

/// Rows of g ~ N(0, I) that `warp` (of g [n, d] and labels) has made something else: the first are fitted to, the
/// others judge.
LabelledNoise toy(const std::function<at::Tensor(const at::Tensor& g, const at::Tensor& label)>& warp) {
  const std::int64_t rows = fitted_rows + judged_rows;
  std::vector<float> normal(static_cast<std::size_t>(rows * row_values));
  fill_normal(normal, 1, Purpose::evaluation_noise, 0);
  const at::Tensor g = at::from_blob(normal.data(), {rows, row_values}, at::kFloat).to(at::kDouble);
  const at::Tensor label = at::arange(rows, at::kLong) * 7 % classes;
  return {warp(g, label).reshape({rows, 2, 2, 2}).contiguous(), label};
}

TrainingNoise rows_of(const LabelledNoise& toy, Communicator& communicator, std::int64_t rows = fitted_rows) {
  return {rows,
          [&toy](std::int64_t first, std::int64_t count) {
            return LabelledNoise{toy.z.narrow(0, first, count), toy.label.narrow(0, first, count)};
          },
          communicator};
}

std::shared_ptr<const GaussianMap> fitted(const std::string& name, const LabelledNoise& toy,
                                          const GaussianMapOptions& options) {
  const GaussianMapKind& kind = find_gaussian_map(name);
  return kind.make(kind.fit(rows_of(toy, ranks()), options), options, c10::kCPU);
}

/// That the judged rows gain `expected` nats, within three standard errors.
void expect_gain(const GaussianMap& map, const LabelledNoise& toy, double expected) {
  const at::Tensor z = toy.z.narrow(0, fitted_rows, judged_rows);
  const at::Tensor nats = nats_gained(z, map(z, toy.label.narrow(0, fitted_rows, judged_rows)));
  const double error = nats.std().item<double>() / std::sqrt(static_cast<double>(judged_rows));
  EXPECT_NEAR(nats.mean().item<double>(), expected, 3 * error);
  EXPECT_GT(expected, 20 * error) << "the gap is too small for this to say anything";
}

/// ∫ φ(g) h(g) dg
double normal_mean(const std::function<double(double)>& h) {
  double sum = 0;
  constexpr double step = 1e-3;
  for (double g = -9; g < 9; g += step) sum += std::exp(-0.5 * g * g) * h(g) * step;
  return sum / std::sqrt(2 * std::numbers::pi);
}

/// ∫ q(x) ln(q(x)/φ(x)) dx
double divergence_of(const std::function<double(double)>& density) {
  return normal_mean([&](double x) {
    const double normal = std::exp(-0.5 * x * x) / std::sqrt(2 * std::numbers::pi), q = density(x);
    return q < 1e-300 ? 0 : q / normal * std::log(q / normal);
  });
}

at::Tensor class_mean() {
  return at::linspace(-0.6, 0.9, classes * row_values, at::kDouble).view({classes, row_values});
}
at::Tensor class_deviation() {
  return at::linspace(1.3, 0.7, classes * row_values, at::kDouble).view({classes, row_values});
}

at::Tensor class_affine(const at::Tensor& g, const at::Tensor& label) {
  return g * class_deviation().index_select(0, label) + class_mean().index_select(0, label);
}

at::Tensor mixing_matrix() {
  std::vector<float> normal(row_values * row_values);
  fill_normal(normal, 2, Purpose::evaluation_noise, 0);
  return at::eye(row_values, at::kDouble) +
         0.25 * at::from_blob(normal.data(), {row_values, row_values}, at::kFloat).to(at::kDouble);
}

/// Heavy and lopsided tails: sinh-arcsinh.
at::Tensor heavy_tails(const at::Tensor& g, const at::Tensor&) {
  return 0.8 * (1.15 * g.asinh() + 0.3).sinh();
}

TEST(GaussianMap, AffineClosesTheGapOfClasses) {
  const LabelledNoise rows = toy(class_affine);
  const at::Tensor variance = class_deviation().square();
  const double gap = (0.5 * (class_mean().square() + variance - 1 - variance.log())).sum(1).mean().item<double>();
  expect_gain(*fitted("affine", rows, options_of()), rows, gap);
}

TEST(GaussianMap, AffineWithFewRowsOfAClassTakesThoseOfAll) {
  const LabelledNoise rows = toy(class_affine);
  const GaussianMapKind& kind = find_gaussian_map("affine");
  const NamedTensors state = kind.fit(rows_of(rows, ranks(), 30), options_of(1e9));
  const at::Tensor z = rows.z.narrow(0, 0, 30).flatten(1);
  EXPECT_TRUE(at::allclose(state.at("mean").flatten(1)[1], z.mean(0), 0, 1e-6));
  EXPECT_TRUE(at::allclose(state.at("deviation").flatten(1)[2], z.std(0, /*unbiased=*/false), 0, 1e-6));
}

TEST(GaussianMap, CovarianceClosesTheGapOfCorrelatedValues) {
  const at::Tensor mix = mixing_matrix();
  const LabelledNoise rows = toy([&](const at::Tensor& g, const at::Tensor&) { return at::matmul(g, mix.t()); });
  const at::Tensor covariance = at::matmul(mix, mix.t());
  const double gap = 0.5 * (covariance.trace().item<double>() - row_values - at::logdet(covariance).item<double>());
  GaussianMapOptions options = options_of();
  options.affine_covariance = true;
  expect_gain(*fitted("affine", rows, options), rows, gap);
}

TEST(GaussianMap, CovarianceOfManyValuesIsRefused) {
  GaussianMapOptions options = options_of();
  options.affine_covariance = true;
  options.shape = {3, 32, 32};
  options.section = "couple.nf-affine";
  try {
    find_gaussian_map("affine").check(options);
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("couple.nf-affine.affine-covariance"), std::string::npos) << error.what();
  }
}

TEST(GaussianMap, RotationsCloseTheGapOfValuesWithTails) {
  const LabelledNoise rows = toy(heavy_tails);
  const double gap = row_values * normal_mean([](double g) {
                       const double inner = 1.15 * std::asinh(g) + 0.3, x = 0.8 * std::sinh(inner);
                       const double slope = 0.8 * std::cosh(inner) * 1.15 / std::sqrt(1 + g * g);
                       return 0.5 * (x * x - g * g) - std::log(slope);
                     });
  expect_gain(*fitted("rotations", rows, options_of()), rows, gap);
}

TEST(GaussianMap, RotationsLeaveAValueAsItIsThatNeverVaries) {
  const LabelledNoise varied = toy(heavy_tails);
  LabelledNoise still = varied;
  still.z = varied.z.clone();
  still.z.flatten(1).select(1, 5).fill_(0.37);
  GaussianMapOptions options = options_of();
  options.rotation_layers = 1;
  const at::Tensor rows = varied.z.narrow(0, fitted_rows, judged_rows);
  const at::Tensor with = still.z.narrow(0, fitted_rows, judged_rows);
  const MappedNoise mapped = (*fitted("rotations", still, options))(with, {});
  EXPECT_LT((mapped.z - with).flatten(1).select(1, 5).abs().max().item<double>(), 1e-12);
  // The others gain what they gain beside a value that varies.
  const double gained = nats_gained(with, mapped).mean().item<double>();
  const double all = nats_gained(rows, (*fitted("rotations", varied, options))(rows, {})).mean().item<double>();
  EXPECT_NEAR(gained, all * (row_values - 1) / row_values, 0.05 * all);
  EXPECT_GT(all, 0.1);
}

TEST(GaussianMap, RotationsCloseTheGapOfValuesWithTwoModes) {
  constexpr double middle = 0.8, deviation = 0.6;
  const LabelledNoise rows = toy([&](const at::Tensor& g, const at::Tensor&) {
    // The sign is that of another row's value, so that it is independent.
    const at::Tensor sign = g.roll({1}, {0}).sign();
    return deviation * g + middle * sign;
  });
  const double gap = row_values * divergence_of([](double x) {
                       double density = 0;
                       for (const double m : {-middle, middle})
                         density += 0.5 * std::exp(-0.5 * (x - m) * (x - m) / deviation / deviation) / deviation /
                                    std::sqrt(2 * std::numbers::pi);
                       return density;
                     });
  expect_gain(*fitted("rotations", rows, options_of()), rows, gap);
}

TEST(GaussianMap, RotationsReachWideAndNarrowValues) {
  const at::Tensor scale = at::tensor({8.0, 0.1, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0}, at::kDouble);
  const LabelledNoise rows = toy([&](const at::Tensor& g, const at::Tensor&) { return g * scale; });
  const double gap = (0.5 * (scale.square() - 1 - 2 * scale.log())).sum().item<double>();
  expect_gain(*fitted("rotations", rows, options_of()), rows, gap);
}

TEST(GaussianMap, RotationsFindWhatSpatialFrequenciesHide) {
  // One frequency of the eight, cosines of two places along each axis, has tails.
  const at::Tensor two = at::tensor({1.0, 1.0, 1.0, -1.0}, at::kDouble).view({2, 2}) / std::numbers::sqrt2;
  const at::Tensor frequencies = at::kron(two, at::kron(two, two));
  const LabelledNoise rows = toy([&](const at::Tensor& g, const at::Tensor&) {
    at::Tensor amplitudes = g.clone();
    amplitudes.select(1, 5).mul_((1 + g.select(1, 5).square()).sqrt() / 2);
    return at::matmul(amplitudes, frequencies);
  });
  const double gap = normal_mean([](double g) {
    const double root = std::sqrt(1 + g * g), x = g * root / 2, slope = (1 + 2 * g * g) / (2 * root);
    return 0.5 * (x * x - g * g) - std::log(slope);
  });
  const at::Tensor z = rows.z.narrow(0, fitted_rows, judged_rows);
  GaussianMapOptions options = options_of();
  const double all = nats_gained(z, (*fitted("rotations", rows, options))(z, {})).mean().item<double>();
  options.rotation_layers = 1;
  const double values = nats_gained(z, (*fitted("rotations", rows, options))(z, {})).mean().item<double>();
  EXPECT_LT(values, 0.3 * gap);
  EXPECT_GT(all, 0.6 * gap);
}

TEST(GaussianMap, RotationsLeaveNormalNoiseAlone) {
  const LabelledNoise rows = toy([](const at::Tensor& g, const at::Tensor&) { return g; });
  const auto map = fitted("rotations", rows, options_of());
  const at::Tensor z = rows.z.narrow(0, fitted_rows, judged_rows);
  const double gained = nats_gained(z, (*map)(z, {})).mean().item<double>();
  EXPECT_NEAR(gained, 0, 0.01);
}

/// ln |det| of the map's Jacobian at a row, by differences.
double numeric_log_det(const GaussianMap& map, const at::Tensor& z, const at::Tensor& label, double step) {
  at::Tensor columns = at::empty({row_values, row_values}, at::kDouble);
  for (std::int64_t i = 0; i < row_values; ++i) {
    at::Tensor shift = at::zeros({row_values}, at::kDouble);
    shift[i] = step;
    shift = shift.view(z.sizes());
    columns[i] = ((map(z + shift, label).z - map(z - shift, label).z) / (2 * step)).flatten();
  }
  return std::get<1>(at::linalg_slogdet(columns)).item<double>();
}

TEST(GaussianMap, DeterminantsAreThoseOfTheJacobian) {
  const LabelledNoise rows = toy([](const at::Tensor& g, const at::Tensor& label) {
    return at::matmul(heavy_tails(class_affine(g, label), label), mixing_matrix().t()) * 0.7;
  });
  GaussianMapOptions options = options_of();
  options.affine_covariance = true;
  std::map<std::string, std::shared_ptr<const GaussianMap>> maps{{"affine", fitted("affine", rows, options)},
                                                                 {"rotations", fitted("rotations", rows, options)}};
  const at::NoGradGuard no_grad;
  TarFlow flow = make_tarflow(options.flow, 3);
  for (TarFlowBlock& block : flow->blocks()) block->proj_out->weight.normal_(0, 0.2);
  maps["flow"] = find_gaussian_map("flow").make(named_tensors(*flow), options, c10::kCPU);
  for (const auto& [name, map] : maps)
    for (const std::int64_t row : {0, 7, 100, 3001}) {
      const at::Tensor z = rows.z.narrow(0, row, 1), label = rows.label.narrow(0, row, 1);
      const double found = (*map)(z, label).log_det.item<double>();
      const bool single = name == "flow";  // which computes in float32
      EXPECT_NEAR(found, numeric_log_det(*map, z, label, single ? 1e-2 : 1e-6), single ? 5e-3 : 1e-5) << name;
      EXPECT_GT(std::abs(found), 1e-3) << name;
    }
}

TEST(GaussianMap, FitsAreTheSameOnAnyRanks) {
  const LabelledNoise rows = toy(
      [](const at::Tensor& g, const at::Tensor& label) { return heavy_tails(class_affine(g, label), label) * 0.7; });
  GaussianMapOptions options = options_of();
  options.affine_covariance = true;
  const auto alone = make_single_communicator();
  for (const char* name : {"affine", "rotations"}) {
    const GaussianMapKind& kind = find_gaussian_map(name);
    const NamedTensors together = kind.fit(rows_of(rows, ranks()), options);
    EXPECT_EQ(tensors_hash(together), tensors_hash(kind.fit(rows_of(rows, *alone), options))) << name;
    EXPECT_GT(together.size(), 1u) << name;
  }
}

}  // namespace
}  // namespace couplet
