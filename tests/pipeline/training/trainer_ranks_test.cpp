#include "tests/pipeline/training/training_starts.h"

#include <gtest/gtest.h>

#include <map>
#include <utility>

// The same training started on other numbers of ranks.

namespace couplet {
namespace {

constexpr char reproducible[] = "steps=12 reproducible=1 micro-batch=10";

TEST(Reproducible, WeightsAreBitEqualOnOneTwoAndFourRanks) {
  const SharedDirectory directory;
  const auto one = directory / "one";
  ASSERT_EQ(start_training(1, one, reproducible), 0) << read_file(one / "output");
  for (const auto& [ranks, keys] : {std::pair{2, ""}, {4, ""}, {2, "shard-optimizer=1"}}) {
    const auto other = directory / fmt::format("{}{}", ranks, *keys ? "-sharded" : "");
    ASSERT_EQ(start_training(ranks, other, fmt::format("{} {}", reproducible, keys)), 0) << read_file(other / "output");
    expect_same_files(other, one);
    auto lines = metrics_of(other), expected = metrics_of(one);
    ASSERT_EQ(lines.size(), expected.size());
    for (std::size_t i = 0; i < lines.size(); ++i) {
      EXPECT_EQ(expected[i].at("rows"), 96);
      EXPECT_EQ(lines[i].at("rows"), 96 / ranks) << "rows of other ranks were computed";
      lines[i]["rows"] = 96;
    }
    EXPECT_EQ(lines, expected);
  }
}

TEST(Reproducible, StoppedOnOneCountAndResumedOnAnotherIsBitEqual) {
  const SharedDirectory directory;
  const auto whole = directory / "whole", moved = directory / "moved";
  ASSERT_EQ(start_training(1, whole, reproducible), 0) << read_file(whole / "output");
  const auto go = [&](int ranks, const std::string& keys) {
    return start_training(ranks, moved, fmt::format("{} {}", reproducible, keys));
  };
  ASSERT_EQ(go(4, "stop-at=2 shard-optimizer=1"), 75) << read_file(moved / "output");
  ASSERT_EQ(go(1, "stop-at=6"), 75) << read_file(moved / "output");
  ASSERT_EQ(go(2, "shard-optimizer=1"), 0) << read_file(moved / "output");
  expect_same_files(moved, whole);
  const auto events = json_lines(moved / "events.jsonl");
  ASSERT_EQ(events.size(), 6U);
  for (const auto& [index, ranks] : std::map<std::size_t, int>{{0, 4}, {2, 1}, {4, 2}}) {
    EXPECT_EQ(events[index].at("ranks"), ranks);
    EXPECT_EQ(events[index].at("lost_steps"), 0);
  }
}

TEST(Elastic, ARunThatMovesBetweenCountsOfRanksSeesTheSameBatches) {
  const SharedDirectory directory;
  const auto one = directory / "one", moved = directory / "moved", three = directory / "three";
  ASSERT_EQ(start_training(1, one, "steps=12"), 0) << read_file(one / "output");
  ASSERT_EQ(start_training(3, three, "steps=12 micro-batch=9"), 0) << read_file(three / "output");
  ASSERT_EQ(start_training(3, moved, "steps=12 stop-at=3 shard-optimizer=1"), 75) << read_file(moved / "output");
  ASSERT_EQ(start_training(2, moved, "steps=12 stop-at=7"), 75) << read_file(moved / "output");
  ASSERT_EQ(start_training(1, moved, "steps=12 shard-optimizer=1"), 0) << read_file(moved / "output");
  const auto expected = metrics_of(one);
  ASSERT_EQ(expected.size(), 12U);
  for (const auto& other : {moved, three}) {
    const auto lines = metrics_of(other);
    ASSERT_EQ(lines.size(), expected.size());
    for (std::size_t i = 0; i < lines.size(); ++i) {
      EXPECT_EQ(lines[i].at("digest"), expected[i].at("digest"));
      EXPECT_NEAR(lines[i].at("loss"), expected[i].at("loss").get<double>(), 1e-4);
    }
  }
}

}  // namespace
}  // namespace couplet
