// Samples that start from one of several noises.
#include "method/sampling/candidates.h"

#include "method/data/noise.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace couplet::testing {
namespace {

constexpr std::uint64_t seed = 5;

InitialNoise initial_noise(std::int64_t first, std::int64_t count, std::int64_t values = 1) {
  std::vector<std::int64_t> samples;
  for (std::int64_t i = first; i < first + count; ++i) samples.push_back(i);
  return {normal_rows({values, 1, 1}, seed, Purpose::evaluation_noise, samples),
          {at::arange(first, first + count).remainder(3), {}}};
}

/// log q/p of q = N(shift, 1).
LogRatio shifted(double shift) {
  return [shift](const at::Tensor& z, const at::Tensor&) {
    return (shift * z.flatten(1).to(at::kDouble) - shift * shift / 2).sum(1);
  };
}

TEST(Candidates, OneIsItsOwnNoiseToTheBit) {
  const InitialNoise plain = initial_noise(3, 7);
  const LogRatio none;
  EXPECT_TRUE(at::equal(with_candidates(plain, 1, seed, 3, none).z, plain.z));
}

TEST(Candidates, AreChosenInProportionToTheirWeights) {
  const at::Tensor log_ratio = at::tensor({0.1, 0.2, 0.7}, at::kDouble).log().expand({10000, 3});
  const at::Tensor uniform = (at::arange(10000, at::kDouble) + 0.5) / 10000;
  const at::Tensor counts = at::bincount(chosen_candidates(log_ratio + 300, uniform), {}, 3);
  EXPECT_TRUE(at::equal(counts, at::tensor({1000, 2000, 7000}, at::kLong)));
  // What is not finite is not chosen.
  constexpr double nan = std::numeric_limits<double>::quiet_NaN(), infinity = std::numeric_limits<double>::infinity();
  const at::Tensor odd = at::tensor({nan, 0.0, infinity, nan, nan, nan, -infinity, -infinity, -infinity}, at::kDouble);
  EXPECT_TRUE(at::equal(chosen_candidates(odd.view({3, 3}), at::full({3}, 0.9, at::kDouble)),
                        at::tensor({1, 0, 0}, at::kLong)));
}

TEST(Candidates, TheirLawIsTheWeightedOne) {
  // The candidate that is taken has the mean E Σ w_k z_k / Σ w_k, by numbers that are drawn apart.
  constexpr std::int64_t rows = 20000, count = 4;
  const double shift = 1;
  const at::Tensor z = at::randn({200000, count}, at::make_generator<at::CPUGeneratorImpl>(9), at::kDouble),
                   w = (shift * z).exp();
  const at::Tensor means = (w * z).sum(1) / w.sum(1), squares = (w * z.square()).sum(1) / w.sum(1);
  const at::Tensor taken =
      with_candidates(initial_noise(0, rows), count, seed, 0, shifted(shift)).z.flatten().to(at::kDouble);
  const double error = taken.std().item<double>() / std::sqrt(static_cast<double>(rows));
  EXPECT_NEAR(taken.mean().item<double>(), means.mean().item<double>(), 4 * error);
  EXPECT_NEAR(taken.square().mean().item<double>(), squares.mean().item<double>(), 0.06);
  EXPECT_GT(taken.mean().item<double>(), 0.5) << "on the way to the table's mean, 1";
  // With many candidates it is the law of the ratio itself.
  const at::Tensor many =
      with_candidates(initial_noise(0, 4000), 64, seed, 0, shifted(shift)).z.flatten().to(at::kDouble);
  EXPECT_NEAR(many.mean().item<double>(), shift, 0.08);
  EXPECT_NEAR(many.std().item<double>(), 1, 0.08);
}

TEST(Candidates, ASampleDoesNotDependOnTheOthers) {
  const at::Tensor all = with_candidates(initial_noise(0, 30, 5), 8, seed, 0, shifted(0.4)).z;
  const at::Tensor some = with_candidates(initial_noise(11, 6, 5), 8, seed, 11, shifted(0.4)).z;
  EXPECT_TRUE(at::equal(all.narrow(0, 11, 6), some));
  EXPECT_FALSE(at::equal(all, initial_noise(0, 30, 5).z));
  EXPECT_FALSE(at::equal(all, with_candidates(initial_noise(0, 30, 5), 8, seed + 1, 0, shifted(0.4)).z));
}

TEST(Candidates, TheOneThatIsTakenIsTheOneThatWasJudged) {
  std::vector<at::Tensor> judged;
  const LogRatio highest = [&](const at::Tensor& z, const at::Tensor&) {
    judged.push_back(z.clone());
    return 1e9 * z.flatten(1).to(at::kDouble).sum(1);
  };
  const InitialNoise own = initial_noise(7, 40, 5);
  const at::Tensor taken = with_candidates(own, 6, seed, 7, highest).z;
  ASSERT_EQ(judged.size(), 6u);
  EXPECT_TRUE(at::equal(judged[0], own.z)) << "the first is the sample's own";
  const at::Tensor all = at::stack(judged, 1), best = all.to(at::kDouble).flatten(2).sum(2).argmax(1);
  EXPECT_TRUE(at::equal(taken, all.index({at::arange(40), best})));
  EXPECT_EQ(best.max().item<std::int64_t>(), 5);
  EXPECT_EQ(best.min().item<std::int64_t>(), 0);
}

TEST(Candidates, TheClassDecidesWithThem) {
  // The ratio knows the class: of class 0 low values are likely, of the others high ones.
  const LogRatio by_class = [](const at::Tensor& z, const at::Tensor& label) {
    return at::where(label == 0, -5.0, 5.0) * z.flatten().to(at::kDouble);
  };
  const InitialNoise taken = with_candidates(initial_noise(0, 300), 8, seed, 0, by_class);
  EXPECT_LT(taken.z.flatten().index({taken.condition.labels == 0}).mean().item<double>(), -1);
  EXPECT_GT(taken.z.flatten().index({taken.condition.labels != 0}).mean().item<double>(), 1);
}

}  // namespace
}  // namespace couplet::testing
