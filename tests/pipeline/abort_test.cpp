// However one rank ends, all end, soon, and the launcher's status tells.
#include "storage/error.h"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <chrono>
#include <cstdlib>
#include <string>

namespace couplet {
namespace {

/// Exit status of failing_rank; timeout(1) gives 124 if it was still there after a minute.
int status_of(const std::string& launcher, const std::string& end) {
  const std::string command = "timeout -k 5 60 " + launcher + COUPLET_FAILING_RANK " " + end + " >/dev/null 2>&1";
  const int status = std::system(command.c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

const std::string three_ranks = COUPLET_MPIEXEC " --oversubscribe -n 3 ";

TEST(Ranks, EndWellTogether) {
  EXPECT_EQ(status_of(three_ranks, "well"), exit_ok);
  EXPECT_EQ(status_of("", "well"), exit_ok);
}

TEST(Ranks, InterruptedTogetherSaySo) {
  EXPECT_EQ(status_of(three_ranks, "interrupted"), exit_interrupted);
  EXPECT_EQ(status_of("", "interrupted"), exit_interrupted);
}

TEST(Ranks, OneThatThrowsEndsAllWithItsStatus) {
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(status_of(three_ranks, "throws"), exit_failed);
  EXPECT_EQ(status_of(three_ranks, "refuses"), exit_usage);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(60));
}

TEST(Ranks, OneThatVanishesEndsAll) {
  EXPECT_EQ(status_of(three_ranks, "exits"), 3);
  const int killed = status_of(three_ranks, "killed");
  EXPECT_TRUE(killed != 0 && killed != 124) << killed;
}

TEST(Ranks, ReductionsOfDifferentLengthsEndAll) {
  EXPECT_EQ(status_of(three_ranks, "disagrees"), exit_failed);
}

}  // namespace
}  // namespace couplet
