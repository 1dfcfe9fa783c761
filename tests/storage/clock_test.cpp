#include "storage/clock.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>
#include <thread>

namespace couplet {
namespace {

TEST(Clock, TellsTheTimeOfTheSystem) {
  const double now = unix_now();
  EXPECT_NEAR(now, static_cast<double>(std::time(nullptr)), 2);
  EXPECT_NE(now, static_cast<double>(static_cast<std::time_t>(now))) << "not to the second only";
}

TEST(Clock, CountsSeconds) {
  const auto start = std::chrono::steady_clock::now();
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_GE(seconds_since(start), 0.02);
  EXPECT_LT(seconds_since(start), 60);
}

TEST(Clock, WritesTimes) {
  EXPECT_EQ(utc_time_text(0), "1970-01-01T00:00:00Z");
  EXPECT_EQ(utc_time_text(1767323045.9), "2026-01-02T03:04:05Z");
  ::setenv("TZ", "UTC-2", 1);
  ::tzset();
  EXPECT_EQ(local_time_text(1767323045), "2026-01-02 05:04:05");
}

}  // namespace
}  // namespace couplet
