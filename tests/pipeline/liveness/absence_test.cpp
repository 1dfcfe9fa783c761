#include "pipeline/liveness/absence.h"

#include <gtest/gtest.h>

namespace couplet {
namespace {

using State = Activity::State;

constexpr Patience patience{.timeout = 600};  // 598 s of waiting, 596 s of computing, 150 s of silence

Heartbeat record(int rank, const Activity& activity) {
  return {rank, "node-" + std::to_string(rank), 100 + rank, 1, 0, activity};
}

/// A rank that has given a sign of life just now.
RankView alive(int rank, const Activity& activity) {
  return {rank, record(rank, activity), 1};
}

Activity waiting(double seconds, std::int64_t number, const std::string& what = "all_reduce of Float [1234]") {
  return {State::waiting, seconds, number, number, what, ""};
}

Activity computing(double seconds, std::int64_t collectives) {
  return {State::computing, seconds, collectives, 0, "", "step 12 of 40"};
}

/// Rank 0 has waited for the 17th collective long enough.
std::string judged(const std::vector<RankView>& others) {
  return reason_to_end(record(0, waiting(598, 17)), others, patience).value_or("");
}

void expect_part(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << text << "\nnot found: " << part;
}

TEST(Absence, NamesTheRankThatComputes) {
  const std::string text = judged({alive(1, waiting(598, 17)), alive(2, computing(700, 16))});
  expect_part(text,
              "rank 2 did not arrive at all_reduce of Float [1234] (collective 17) within 10m 00s: process 102 on "
              "node-2 has been computing for 11m 40s (step 12 of 40)");
  EXPECT_EQ(text.find("rank 1"), std::string::npos) << text;
}

TEST(Absence, IsNoneOfARankThatHasNotComputedForLong) {
  EXPECT_EQ(judged({alive(1, waiting(598, 17)), alive(2, computing(500, 16))}), "");
}

TEST(Absence, IsNoneOfARankThatIsBusy) {
  EXPECT_EQ(judged({alive(1, waiting(598, 17)), alive(2, {State::alone, 5000, 16, 0, "hashing", ""})}), "");
}

TEST(Absence, IsNotCoveredByAnotherThatIsBusy) {
  const std::string text = judged({alive(1, computing(600, 16)), alive(2, {State::alone, 5000, 16, 0, "hashing", ""})});
  expect_part(text, "rank 1 did not arrive");
  EXPECT_EQ(text.find("rank 2"), std::string::npos) << text;
}

TEST(Absence, NamesTheRankWithoutASignOfLifeWhateverItDid) {
  for (const Activity& last : {computing(1, 16), waiting(1, 17), Activity{State::alone, 1, 16, 0, "hashing", ""}}) {
    const std::string text = judged({{1, record(1, last), 200}, alive(2, waiting(598, 17))});
    expect_part(text, "rank 1 did not arrive");
    expect_part(text, "process 101 on node-1 gives no sign of life");
    EXPECT_EQ(text.find("rank 2"), std::string::npos) << text;
  }
  expect_part(judged({{1, std::nullopt, 200}}), "rank 1 did not arrive");
  EXPECT_EQ(judged({{1, std::nullopt, 100}}), "");
}

TEST(Absence, NamesTheRankThatHasEnded) {
  const std::string text = judged({alive(1, {State::ended, 1, 16, 0, "", ""}), alive(2, waiting(598, 17))});
  expect_part(text, "rank 1 did not arrive");
  expect_part(text, "has come to its end");
}

TEST(Absence, NamesTheRankThatStartedTheCollectiveAndComputes) {
  expect_part(judged({alive(1, computing(600, 17))}), "has been computing for 10m 00s since it started it");
}

TEST(Absence, NamesTheRankThatWaitsInAnEarlierCollective) {
  const std::string text = judged({alive(1, waiting(599, 16, "barrier")), alive(2, waiting(598, 17))});
  expect_part(text, "rank 1 did not arrive");
  expect_part(text, "waits in barrier (collective 16)");
  EXPECT_EQ(judged({alive(1, waiting(100, 16, "barrier"))}), "") << "it has not waited long";
}

TEST(Absence, OfNobodyIsTheNetworks) {
  const std::string text = judged({alive(1, waiting(598, 17)), alive(2, waiting(599, 17))});
  expect_part(text, "all ranks have arrived at all_reduce of Float [1234] (collective 17)");
  expect_part(text, "network");
}

TEST(Absence, OfManyNamesThree) {
  std::vector<RankView> others;
  for (int rank = 1; rank < 6; ++rank) others.push_back(alive(rank, computing(700, 16)));
  const std::string text = judged(others);
  for (int rank = 1; rank < 4; ++rank) expect_part(text, fmt::format("rank {} did not arrive", rank));
  expect_part(text, "2 more ranks did not either");
}

TEST(Patience, ManyNodesAskTheFileSystemForNoMore) {
  for (const std::size_t nodes : {1, 64, 100, 900}) {
    const Patience many{.timeout = 600, .nodes = nodes};
    EXPECT_LE(static_cast<double>(nodes) / many.period(), 64) << nodes;
    EXPECT_LE(2 * static_cast<double>(nodes) / many.look(), 32) << nodes;
    EXPECT_LT(many.look(), 60) << "several looks before the time is over";
  }
}

}  // namespace
}  // namespace couplet
