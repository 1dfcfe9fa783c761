#include "method/solvers/trajectory.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <vector>

namespace couplet {
namespace {

TEST(Paths, StraightPathsHaveNone) {
  const VelocityField straight = [](const at::Tensor& x, double) { return torch::full_like(x, 1e4); };
  const PathShape shape = path_shape(straight, torch::randn({3, 2, 4, 4}), 128);
  EXPECT_TRUE(shape.curvature.equal(torch::zeros({3}, torch::kDouble)));
  EXPECT_TRUE(shape.straightness.allclose(torch::ones({3}, torch::kDouble), 1e-12));
  EXPECT_TRUE(shape.transport.allclose(torch::full({3}, 32 * 1e8, torch::kDouble), 1e-12));
}

TEST(Paths, OfAQuadraticPath) {
  // x_t = z + c (t² - 1): v = 2ct, x_1 - x_0 = c, κ = c² ∫ (2t - 1)² dt = c²/3. Over n steps at t = i/n, i = 1 ... n,
  // the variance of 2ct is c²/3 · (1 - 1/n²).
  const at::Tensor c =
      torch::tensor({1.0, 2.0, -3.0}, torch::kDouble).view({3, 1}) * torch::tensor({1.0, 0.5}, torch::kDouble);
  const VelocityField field = [&](const at::Tensor&, double t) { return 2 * t * c; };
  for (const std::int64_t steps : {4, 128}) {
    const at::Tensor kappa = path_shape(field, torch::zeros({3, 2}, torch::kDouble), steps).curvature;
    const double shrink = 1 - 1.0 / static_cast<double>(steps * steps);
    EXPECT_TRUE(kappa.allclose(c.square().mean(1) / 3 * shrink, 1e-13)) << kappa;
  }
}

TEST(Paths, KeepsItsDigitsUnderALargeMeanVelocity) {
  const VelocityField field = [](const at::Tensor& x, double t) { return torch::full_like(x, 1e7 + 2 * t); };
  const double kappa = path_shape(field, torch::zeros({1, 4}, torch::kDouble), 128).curvature.item<double>();
  EXPECT_NEAR(kappa, (1 - 1.0 / (128 * 128)) / 3, 1e-8);
}

TEST(Paths, EqualsTheDefinitionAlongTheStoredPath) {
  const at::Tensor z = torch::randn({5, 7}, torch::kDouble);
  const at::Tensor mix = torch::randn({7, 7}, torch::kDouble) / 3;
  const VelocityField field = [&](const at::Tensor& x, double t) { return x.mm(mix).tanh() * (1 + t) + x; };
  const std::int64_t steps = 16;
  at::Tensor x = z;
  std::vector<at::Tensor> velocities;
  for (std::int64_t i = steps; i > 0; --i) {
    velocities.push_back(field(x, static_cast<double>(i) / steps));
    x = x - velocities.back() / steps;
  }
  const at::Tensor brute = (torch::stack(velocities) - (z - x)).square().mean(0).mean(1);
  const PathShape shape = path_shape(field, z, steps);
  EXPECT_TRUE(shape.curvature.allclose(brute, 1e-12, 1e-14));
  const at::Tensor deviation = (torch::stack(velocities, 1) - (z - x).unsqueeze(1)).square().mean(2);
  EXPECT_TRUE(shape.deviation.allclose(deviation, 1e-12, 1e-14));
  const at::Tensor way = (z - x).norm(2, 1), length = torch::stack(velocities).norm(2, 2).mean(0);
  EXPECT_TRUE(shape.straightness.allclose(way / length, 1e-12, 1e-14));
  EXPECT_TRUE(shape.transport.allclose(way.square(), 1e-12, 1e-14));
}

TEST(Paths, DeviationOfManyStepsIsToldAtEvenlySpacedTimes) {
  // x_t = z + c (t² - 1): v - (x_1 - x_0) = c (2t - 1 - 1/n), the mean of 2t over t = i/n being 1 + 1/n.
  const std::int64_t steps = 128;
  const VelocityField field = [](const at::Tensor& x, double t) { return torch::full_like(x, 2 * t); };
  const PathShape shape = path_shape(field, torch::zeros({2, 3}, torch::kDouble), steps);
  const std::vector<double> times = deviation_times(steps);
  ASSERT_EQ(times.size(), 32U);
  EXPECT_EQ(times.front(), 1);
  EXPECT_EQ(times[1], 1 - 4.0 / 128);
  EXPECT_EQ(times.back(), 4.0 / 128);
  for (std::size_t i = 0; i < times.size(); ++i) {
    const double exact = 2 * times[i] - 1 - 1.0 / static_cast<double>(steps);
    EXPECT_NEAR(shape.deviation[1][static_cast<std::int64_t>(i)].item<double>(), exact * exact, 1e-12);
  }
  EXPECT_EQ(deviation_times(33).size(), 17U);
}

TEST(Paths, TrajectoryHasTheStatesOfItsTimes) {
  // v = c: x_t = z - c (1 - t).
  const VelocityField field = [](const at::Tensor& x, double) { return torch::full_like(x, 3); };
  const at::Tensor z = torch::randn({2, 5}, torch::kDouble);
  for (const std::int64_t steps : {8, 128}) {
    const std::vector<at::Tensor> states = trajectory(field, z, steps, 8);
    ASSERT_EQ(states.size(), 9U);
    for (std::size_t k = 0; k < states.size(); ++k)
      EXPECT_TRUE(states[k].allclose(z - 3 * static_cast<double>(k) / 8, 1e-12, 1e-12)) << steps << " " << k;
  }
  EXPECT_EQ(trajectory(field, z, 3, 8).size(), 9U);
  EXPECT_TRUE(trajectory(field, z, 3, 8).back().allclose(z - 3, 1e-12, 1e-12));
}

TEST(Paths, AWayThereAndBackIsNotStraight) {
  // v = 1 - 2t from t = 1 to 0: out by ¼ and back. Over many steps the way vanishes and the length is ½.
  const VelocityField field = [](const at::Tensor& x, double t) { return torch::full_like(x, 1 - 2 * t); };
  const PathShape shape = path_shape(field, torch::zeros({1, 1}, torch::kDouble), 1000);
  EXPECT_LT(shape.straightness.item<double>(), 0.01);
  EXPECT_LT(shape.transport.item<double>(), 1e-5);
  const PathShape still =
      path_shape([](const at::Tensor& x, double) { return torch::zeros_like(x); }, torch::ones({1, 1}));
  EXPECT_EQ(still.straightness.item<double>(), 1);
}

}  // namespace
}  // namespace couplet
