#include "pipeline/distributed/agreement.h"

#include "storage/error.h"
#include "storage/files/hash.h"
#include "tests/pipeline/bytes_read.h"
#include "tests/pipeline/pipeline_testing.h"
#include "tests/pipeline/ranks.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

namespace couplet {
namespace {

using Json = nlohmann::json;

/// What is thrown, with its status; "" if nothing is.
std::string refusal(const Json& facts) {
  try {
    require_agreement(ranks(), "their start", facts);
    return "";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), exit_usage);
    return error.what();
  }
}

TEST(Agreement, OfRanksThatHaveTheSameFacts) {
  EXPECT_EQ(refusal({{"version", "1.2"}, {"keys", {{"teacher.channels", "64"}}}, {"step", 7}}), "");
  EXPECT_EQ(refusal(Json::object()), "");
}

TEST(Agreement, NamesTheKeyTheValuesAndTheRanks) {
  if (ranks().size() == 1) GTEST_SKIP() << "needs two ranks";
  const bool odd = ranks().rank() == 1;
  const std::string text =
      refusal({{"version", "1.2"}, {"keys", {{"teacher.channels", odd ? "128" : "64"}}}, {"step", odd ? 10 : 7}});
  const std::string others = ranks().size() == 2 ? "rank 0" : "ranks 0, 2";
  EXPECT_NE(text.find("the ranks disagree about their start: "), std::string::npos) << text;
  EXPECT_NE(text.find("step is "), std::string::npos) << text;
  EXPECT_NE(text.find("7 on " + others), std::string::npos) << text;
  EXPECT_NE(text.find("10 on rank 1"), std::string::npos) << text;
  EXPECT_NE(text.find("keys.teacher.channels is "), std::string::npos) << text;
  EXPECT_NE(text.find("\"128\" on rank 1"), std::string::npos) << text;
  EXPECT_EQ(text.find("version"), std::string::npos) << text;
}

TEST(Agreement, TakesAMissingKeyForADifference) {
  if (ranks().size() == 1) GTEST_SKIP() << "needs two ranks";
  Json facts = {{"dataset", "abc"}};
  if (ranks().rank() == 0) facts["init"] = "def";
  const std::string text = refusal(facts);
  EXPECT_NE(text.find("init is \"def\" on rank 0, absent on rank"), std::string::npos) << text;
}

// On 10a555e every rank read the file to compare it.
TEST(HashForAll, IsOfAFileThatOneRankReads) {
  const SharedDirectory directory;
  const std::filesystem::path path = directory / "run" / "weights";
  constexpr std::size_t bytes = 4 << 20;
  if (ranks().is_root()) std::ofstream(path) << std::string(bytes, 'w');
  ranks().barrier();
  const double before = bytes_read();
  const std::string hash = hash_for_all(ranks(), path);
  const double read = bytes_read() - before;
  if (ranks().is_root()) {
    EXPECT_GE(read, bytes);
  } else {
    EXPECT_LT(read, bytes / 8);
  }
  EXPECT_EQ(hash, hash_file(path));
}

TEST(OnAllRanks, NoFailureIsNone) {
  int called = 0;
  EXPECT_FALSE(try_on_all(ranks(), [&] { ++called; }));
  EXPECT_EQ(called, 1);
  run_on_all(ranks(), [] {});
}

TEST(OnAllRanks, TheFirstRankThatFailedIsToldOnEveryRank) {
  const int size = ranks().size();
  for (int first = 0; first < size; ++first) {
    const auto failed = try_on_all(ranks(), [&] {
      if (ranks().rank() >= first) fail("disk of rank {} is full", ranks().rank());
    });
    ASSERT_TRUE(failed);
    EXPECT_EQ(failed->rank, first);
    EXPECT_EQ(failed->reason, "disk of rank " + std::to_string(first) + " is full");
  }
}

TEST(OnAllRanks, AllThrowWhatOneThrew) {
  const int last = ranks().size() - 1;
  try {
    run_on_all(ranks(), [&] {
      if (ranks().rank() == last) throw std::runtime_error("");
    });
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "unknown error");
    EXPECT_EQ(error.status(), exit_failed);
  }
}

TEST(JobHeartbeats, OfAllRanksStandInTheFileOfTheirNode) {
  const SharedDirectory directory;
  const auto place = directory / "ranks";
  const JobHeartbeats heartbeats = make_job_heartbeats(ranks(), place, "teacher");
  const auto found = HeartbeatFiles::read_all(place, [](const std::string&) { return true; });
  ASSERT_EQ(found.size(), 1U);
  ASSERT_EQ(found.at("teacher").size(), static_cast<std::size_t>(ranks().size()));
  for (int rank = 0; rank < ranks().size(); ++rank)
    EXPECT_EQ(found.at("teacher")[static_cast<std::size_t>(rank)].rank, rank);
  const auto files = std::filesystem::directory_iterator(place);
  EXPECT_EQ(std::distance(begin(files), end(files)), 1) << "the ranks of this test are on one node";
}

TEST(JobHeartbeats, ARankWithoutAPlaceForThemIsNamedOnAll) {
  const SharedDirectory directory;
  const auto file = directory / "folder" / "file";
  if (ranks().is_root()) std::ofstream(file) << "no folder";
  expect_contains(error_of([&] { make_job_heartbeats(ranks(), file, "teacher"); }),
                  "rank 0 has no place to note what it does");
}

TEST(OnAllRanks, WhatOneRefusesAllRefuse) {
  try {
    run_on_all(ranks(), [] {
      if (ranks().is_root()) refuse("these weights are of a model that diverged");
    });
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "these weights are of a model that diverged");
    EXPECT_EQ(error.status(), exit_usage);
  }
}

}  // namespace
}  // namespace couplet
