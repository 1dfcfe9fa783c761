// Which losses count as the stored ones.
#include "launch/selftest/stored_losses.h"

#include <gtest/gtest.h>

#include <limits>

namespace couplet {
namespace {

TEST(StoredLosses, RoundingIsNoDifference) {
  EXPECT_EQ(loss_difference({2.00001, 0.5, -3}, {2, 0.500009, -3.00002}, 1e-5), "");
  EXPECT_DOUBLE_EQ(largest_difference({2.5, 0.5, -3}, {2, 0.5, -4}), 0.25);
  EXPECT_DOUBLE_EQ(largest_difference({0.125}, {0}), 0.125) << "of losses below 1 the difference counts itself";
}

TEST(StoredLosses, TheFirstWrongStepIsNamedWithBothNumbers) {
  EXPECT_EQ(loss_difference({2, 0.5125, 7}, {2, 0.5, 3}, 1e-3),
            "the loss of step 1 is 0.5125, expected 0.5 within 1e-03");
  EXPECT_EQ(loss_difference({-2.1}, {-2}, 1e-2), "the loss of step 0 is -2.1, expected -2 within 1e-02");
}

TEST(StoredLosses, WhatIsNotFiniteAgreesWithNothing) {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN(), infinity = std::numeric_limits<double>::infinity();
  EXPECT_NE(loss_difference({nan}, {1}), "");
  EXPECT_NE(loss_difference({infinity}, {1}), "");
}

TEST(StoredLosses, AsManyAsThereAreSteps) {
  EXPECT_EQ(loss_difference({1, 1}, {1}), "there are losses of 2 steps, 1 were expected");
  EXPECT_EQ(loss_difference({}, student_losses), "there are losses of 0 steps, 10 were expected");
}

TEST(StoredLosses, AHundredthOfWhatTrainingChangesWouldShow) {
  for (const auto& losses : {student_losses, teacher_losses}) {
    ASSERT_EQ(losses.size(), 10U);
    EXPECT_GT((losses.front() - losses.back()) / 100, 50 * loss_tolerance);
  }
}

}  // namespace
}  // namespace couplet
