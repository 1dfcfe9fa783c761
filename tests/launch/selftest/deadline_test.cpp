// A check that is not done in time ends the process and names it.
#include "launch/selftest/deadline.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

namespace couplet {
namespace {

using std::chrono::milliseconds;

TEST(Deadline, EndsTheProcessAndSaysWhoWaitsInWhat) {
  EXPECT_EXIT(
      {
        Deadline deadline(milliseconds(100), "process 12 on node7", "start of MPI");
        deadline.name("rank 3 on node7");
        deadline.begin("files");
        std::this_thread::sleep_for(std::chrono::seconds(20));
      },
      ::testing::ExitedWithCode(1), "couplet: files FAILED: rank 3 on node7 is not done with it after 0.1 s");
}

TEST(Deadline, EachCheckHasATimeOfItsOwn) {
  EXPECT_EXIT(
      {
        Deadline deadline(milliseconds(400), "rank 0", "first");
        for (int check = 0; check < 8; ++check) {
          std::this_thread::sleep_for(milliseconds(100));
          deadline.begin("next");
        }
        std::_Exit(0);
      },
      ::testing::ExitedWithCode(0), "^$");
}

}  // namespace
}  // namespace couplet
