#include "tests/pipeline/training/training_starts.h"

#include <gtest/gtest.h>

// SIGKILL of one rank, in the middle of training and of a checkpoint's publication, on one and on two ranks.

namespace couplet {
namespace {

class Kill : public testing::TestWithParam<int> {};

TEST_P(Kill, TrainingGoesOnBitEqual) {
  const int processes = GetParam();
  const SharedDirectory directory;
  const auto whole = directory / "whole", killed = directory / "killed";
  ASSERT_EQ(start_training(processes, whole, "steps=30"), 0) << read_file(whole / "output");
  for (const int kill_at : {2, 7, 9, 10, 22})
    EXPECT_NE(start_training(processes, killed, fmt::format("steps=30 kill-at={}", kill_at)), 0) << kill_at;
  ASSERT_EQ(start_training(processes, killed, "steps=30"), 0) << read_file(killed / "output");
  expect_same_files(killed, whole);
  EXPECT_EQ(metrics_of(killed), metrics_of(whole));
  const auto events = json_lines(killed / "events.jsonl");
  ASSERT_EQ(events.size(), 7U);
  // A checkpoint is written in the background: the kill may have come before it was there, or, of another rank, after.
  const std::vector<int> resumed_at = {0, 0, 5, 5, 10, 20};
  for (std::size_t i = 0; i < resumed_at.size(); ++i) {
    const int step = events[i].at("step");
    EXPECT_LE(std::abs(step - resumed_at[i]), 5) << i;
    EXPECT_EQ(step % 5, 0);
  }
  EXPECT_EQ(events[6].at("event"), "finished");
}

TEST_P(Kill, AtAnyInstantOfASaveLeavesWholeCheckpoints) {
  const int processes = GetParam();
  const SharedDirectory directory;
  const auto whole = directory / "whole", killed = directory / "killed";
  ASSERT_EQ(start_training(processes, whole, "steps=30"), 0) << read_file(whole / "output");
  for (const char* point :
       {"step-00000005:written", "step-00000010:renamed", "step-00000015:published", "latest:renamed"}) {
    EXPECT_NE(start_training(processes, killed, "steps=30", fmt::format("COUPLET_TEST_KILL_IN_PUBLISH={}", point)), 0)
        << point;
    expect_contains(read_file(killed / "output"), "killed as COUPLET_TEST_KILL_IN_PUBLISH asks");
  }
  ASSERT_EQ(start_training(processes, killed, "steps=30"), 0) << read_file(killed / "output");
  expect_same_files(killed, whole);
  EXPECT_EQ(metrics_of(killed), metrics_of(whole));
  std::int64_t lost = 0;
  for (const auto& event : json_lines(killed / "events.jsonl")) lost += event.at("lost_steps").get<std::int64_t>();
  // All four came while a checkpoint was being written, and these steps are as short as the writing: training may have
  // come to the next checkpoint meanwhile, where it waits.
  EXPECT_LE(lost, 4 * 2 * 5);
}

INSTANTIATE_TEST_SUITE_P(Ranks, Kill, testing::Values(1, 2));

}  // namespace
}  // namespace couplet
