#include "method/solvers/likelihood.h"

#include "method/data/noise.h"
#include "storage/error.h"

#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <cmath>
#include <numbers>
#include <vector>

namespace couplet {
namespace {

/// Images that are N(mean, covariance), and the field of the independent coupling that carries them to N(0, I):
/// E[z - x | x_t] of x_t = (1 - t) x + t z is linear in x_t.
struct Gaussian {
  at::Tensor mean, covariance;  ///< float64 [D], [D, D]

  explicit Gaussian(std::int64_t dimension) {
    torch::manual_seed(3);
    mean = torch::randn({dimension}, torch::kDouble) / 2;
    const at::Tensor root = torch::randn({dimension, dimension}, torch::kDouble) / 2;
    covariance = root.mm(root.t()) + 0.1 * torch::eye(dimension, torch::kDouble);
  }
  VelocityField field() const {
    return [this](const at::Tensor& x, double t) {
      const at::Tensor identity = torch::eye(mean.size(0), torch::kDouble);
      const at::Tensor inverse = torch::inverse((1 - t) * (1 - t) * covariance + t * t * identity);
      const at::Tensor centred = (x.flatten(1).to(torch::kDouble) - (1 - t) * mean).mm(inverse);
      const at::Tensor noise = t * centred, image = mean + (1 - t) * centred.mm(covariance);
      return (noise - image).view(x.sizes());
    };
  }
  at::Tensor log_density(const at::Tensor& x) const {
    const at::Tensor centred = x.flatten(1) - mean;
    const at::Tensor squares = (centred.mm(torch::inverse(covariance)) * centred).sum(1);
    const double constant = static_cast<double>(mean.size(0)) * std::log(2 * std::numbers::pi);
    return -0.5 * (squares + torch::logdet(covariance) + constant);
  }
  at::Tensor draw(std::int64_t rows) const {
    return torch::randn({rows, mean.size(0)}, torch::kDouble).mm(torch::linalg_cholesky(covariance).t()) + mean;
  }
};

std::vector<std::int64_t> first_rows(std::int64_t count) {
  std::vector<std::int64_t> rows;
  for (std::int64_t i = 0; i < count; ++i) rows.push_back(i);
  return rows;
}

TEST(Likelihood, OfALinearGaussianFieldIsTheClosedForm) {
  const Gaussian gaussian(12);
  const at::Tensor x = gaussian.draw(16).view({16, 3, 2, 2});
  const FlowLikelihood found = flow_likelihood(gaussian.field(), x, {1e-6, 1e-6});
  const at::Tensor bits = student_bits(found.nats, 12, *pixel_codec()),
                   exact = student_bits(gaussian.log_density(x), 12, *pixel_codec());
  EXPECT_LE((bits - exact).abs().max().item<double>(), 1e-4) << bits << exact;
  EXPECT_GT((bits - bits.mean()).abs().max().item<double>(), 0.1) << "rows differ";
  EXPECT_GT(found.nfe, 10);
}

TEST(Likelihood, ProbesGiveTheSameOnAverage) {
  const Gaussian gaussian(6);
  const std::int64_t rows = 400;
  // Equal rows with their own probes: their mean is an estimate with a known error.
  const at::Tensor x = gaussian.draw(1).expand({rows, 6}).contiguous();
  const at::Tensor probes = rademacher_probes(1, {6}, 5, first_rows(rows));
  const at::Tensor nats = flow_likelihood(gaussian.field(), x, {1e-6, 1e-6}, probes).nats;
  const double error = nats.std().item<double>() / std::sqrt(static_cast<double>(rows));
  EXPECT_GT(error, 0);
  EXPECT_NEAR(nats.mean().item<double>(), gaussian.log_density(x)[0].item<double>(), 4 * error);
  // Many probes a row come closer.
  const at::Tensor few_rows = x.narrow(0, 0, 50);
  const at::Tensor many = rademacher_probes(16, {6}, 5, first_rows(50));
  const double narrow = flow_likelihood(gaussian.field(), few_rows, {1e-6, 1e-6}, many).nats.std().item<double>();
  EXPECT_LT(narrow, nats.std().item<double>() / 2);
}

TEST(Likelihood, ProbesOfADiagonalFieldAreExact) {
  // ∂v/∂x diagonal: εᵀ(∂v/∂x)ε is the trace for any ε of ±1.
  const VelocityField field = [](const at::Tensor& x, double t) { return x.pow(3) * 0.1 + x * t; };
  const at::Tensor x = torch::linspace(-1, 1, 10, torch::kDouble).view({5, 2});
  const at::Tensor exact = flow_likelihood(field, x, {1e-8, 1e-8}).nats;
  const at::Tensor probes = rademacher_probes(1, {2}, 1, first_rows(5));
  EXPECT_TRUE(flow_likelihood(field, x, {1e-8, 1e-8}, probes).nats.allclose(exact, 1e-9, 1e-9));
}

TEST(Likelihood, AFieldWithoutSlopeMovesTheDensityOnly) {
  const VelocityField field = [](const at::Tensor& x, double) { return torch::ones_like(x); };
  const FlowLikelihood found = flow_likelihood(field, torch::zeros({1, 2}), {1e-6, 1e-6});
  EXPECT_NEAR(found.nats.item<double>(), -1 - std::log(2 * std::numbers::pi), 1e-5);
}

TEST(Likelihood, ProbesAreSignsOfTheirRow) {
  const at::Tensor probes = rademacher_probes(2, {3, 40}, 7, {4, 9});
  EXPECT_TRUE(probes.abs().equal(torch::ones({2, 2, 3, 40})));
  EXPECT_LT(probes.mean().abs().item<double>(), 0.2);
  EXPECT_TRUE(rademacher_probes(2, {3, 40}, 7, {9}).select(1, 0).equal(probes.select(1, 1)));
  EXPECT_FALSE(probes[0].equal(probes[1]));
  EXPECT_THROW(flow_likelihood([](const at::Tensor& x, double) { return x; }, torch::zeros({2, 3}), {}, probes), Error);
}

TEST(Likelihood, AFlatDensityOverTheLevelsIsEightBits) {
  // Uniform over the 256 cells, [-½, 255½] / 127.5 - 1: a density of 127.5 / 256 a value.
  const std::int64_t values = 28;
  const at::Tensor nats = torch::full({1}, 28 * std::log(127.5 / 256), torch::kDouble);
  EXPECT_NEAR(student_bits(nats, values, *pixel_codec()).item<double>(), 8, 1e-12);
  const at::Tensor levels =
      torch::tensor({0, 255}, torch::kUInt8).view({1, 1, 1, 2}).expand({64, 1, 1, 2}).contiguous();
  const at::Tensor x = dequantised(levels, *pixel_codec(), 3, first_rows(64));
  EXPECT_TRUE(((x + 1) * 127.5).round().clamp(0, 255).to(torch::kUInt8).equal(levels)) << "it rounds back";
  EXPECT_GT(x.select(3, 0).std().item<double>(), 0.2 / 127.5);
  EXPECT_TRUE(dequantised(levels.narrow(0, 5, 1), *pixel_codec(), 3, {5}).equal(x.narrow(0, 5, 1)));
  const at::Tensor again = dequantised(levels, *pixel_codec(), 3, first_rows(64), 1);
  EXPECT_FALSE(again.equal(x)) << "another draw";
  EXPECT_TRUE(((again + 1) * 127.5).round().clamp(0, 255).to(torch::kUInt8).equal(levels));
}

TEST(Likelihood, SpreadImagesFillTheirCells) {
  const at::Tensor levels = torch::arange(256, torch::kUInt8).view({4, 1, 8, 8});
  const at::Tensor x = pixel_codec()->encode(levels);
  const at::Tensor spread = spread_over_levels(x, *pixel_codec(), 3, Purpose::flow_dequantisation, {7, 8, 9, 10});
  const at::Tensor cells = (spread - x) * 127.5;
  EXPECT_GE(cells.min().item<double>(), -0.5001);
  EXPECT_LE(cells.max().item<double>(), 0.5001);
  EXPECT_NEAR(cells.mean().item<double>(), 0, 0.08);
  EXPECT_NEAR(cells.std().item<double>(), 1 / std::sqrt(12), 0.03);
  EXPECT_TRUE(spread_over_levels(x.narrow(0, 2, 1), *pixel_codec(), 3, Purpose::flow_dequantisation, {9})
                  .equal(spread.narrow(0, 2, 1)));
}

}  // namespace
}  // namespace couplet
