#include "stages/report/data/loss_curve.h"

#include <gtest/gtest.h>

#include <limits>
#include <utility>
#include <vector>

namespace couplet {
namespace {

TEST(Thinning, KeepsMeansAndEnds) {
  std::vector<std::pair<double, double>> points;
  for (int i = 0; i < 1000; ++i) points.emplace_back(i, 2 * i);
  points.emplace_back(2000, std::numeric_limits<double>::quiet_NaN());
  const auto thin = thinned(points, 100);
  ASSERT_EQ(thin.size(), 100U);
  EXPECT_DOUBLE_EQ(thin.front().first, 4.5);
  EXPECT_DOUBLE_EQ(thin.back().second, 2 * 994.5);
  EXPECT_EQ(thinned(points, 5000).size(), 1000U);
}

TEST(LossStart, TheSteepFallIsLeftOut) {
  Points points;
  for (int i = 0; i < 100; ++i) points.emplace_back(i, i < 2 ? 9 - i : 1.0 + 0.01 * (i % 2));
  const Points rest = without_start(points);
  ASSERT_EQ(rest.size(), 98U);
  EXPECT_DOUBLE_EQ(rest.front().first, 2);
  const Points rising{{0, 1}, {1, 2}, {2, 3}};
  EXPECT_EQ(without_start(rising), rising);
}

}  // namespace
}  // namespace couplet
