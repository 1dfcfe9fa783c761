// Figures of a two-sample test, against pairs that are counted and Gaussians whose figures are known.
#include "method/metrics/density_ratio.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

namespace couplet::testing {
namespace {

at::Tensor normal_values(std::int64_t n, std::uint64_t seed) {
  return at::randn({n}, at::make_generator<at::CPUGeneratorImpl>(seed), at::kDouble);
}

TEST(AreaUnderCurve, CountsPairs) {
  // Rounded, so that some are equal.
  const at::Tensor a = (2 * normal_values(60, 1) + 0.5).round(), b = (2 * normal_values(45, 2)).round();
  const at::Tensor above = (a.unsqueeze(1) > b).to(at::kDouble), equal = (a.unsqueeze(1) == b).to(at::kDouble);
  EXPECT_NEAR(area_under_curve(a, b).value, (above + equal / 2).mean().item<double>(), 1e-12);
}

TEST(AreaUnderCurve, OfShiftedGaussiansIsKnown) {
  const double shift = 0.7, expected = 0.5 * std::erfc(-shift / 2);  // Φ(δ/√2)
  double squares = 0, errors = 0;
  constexpr int repeats = 40;
  for (int i = 0; i < repeats; ++i) {
    const auto seed = static_cast<std::uint64_t>(10 + 2 * i);
    const AreaUnderCurve found = area_under_curve(normal_values(400, seed) + shift, normal_values(400, seed + 1));
    squares += (found.value - expected) * (found.value - expected) / repeats;
    errors += found.standard_error * found.standard_error / repeats;
  }
  EXPECT_LT(std::sqrt(squares), 0.03);
  EXPECT_NEAR(std::sqrt(squares / errors), 1, 3 / std::sqrt(2.0 * repeats)) << "the standard error";
}

TEST(DivergenceBound, OfTheExactRatioIsTheDivergence) {
  const double shift = 0.8;
  const at::Tensor q = normal_values(20000, 3) + shift, p = normal_values(20000, 4);
  const auto logit = [&](const at::Tensor& x) { return shift * x - shift * shift / 2; };
  const DivergenceBound exact = divergence_bound(logit(q), logit(p));
  EXPECT_NEAR(exact.value, shift * shift / 2, 3 * exact.standard_error);
  EXPECT_NEAR(exact.mean_logit, shift * shift / 2, 0.03);
  EXPECT_NEAR(exact.log_normaliser, 0, 0.03);
  // A constant besides changes nothing, and another ratio bounds it from below.
  EXPECT_NEAR(divergence_bound(logit(q) + 500, logit(p) + 500).value, exact.value, 1e-9);
  EXPECT_LT(divergence_bound(0.3 * logit(q), 0.3 * logit(p)).value, shift * shift / 2 - 0.05);
  EXPECT_NEAR(divergence_bound(0 * q, 0 * p).value, 0, 1e-12);
}

}  // namespace
}  // namespace couplet::testing
