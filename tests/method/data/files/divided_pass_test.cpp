// A pass over many things that all ranks share, on any number of them.
#include "method/data/files/divided_pass.h"

#include "tests/pipeline/pipeline_testing.h"
#include "tests/pipeline/ranks.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <numeric>
#include <string>

namespace couplet::testing {
namespace {

/// A byte a thing, of which any may be 0.
std::string bytes_of(std::int64_t first, std::int64_t count) {
  std::string bytes(static_cast<std::size_t>(count), '\0');
  std::iota(bytes.begin(), bytes.end(), static_cast<char>(first));
  return bytes;
}

/// The results of a pass over `count` things, one behind the other.
std::string whole(const DividedPass& pass, const std::string& stamp, std::int64_t count, const PassPart& part) {
  const std::vector<std::string> parts = pass([&] { return stamp; }, count, part);
  return std::accumulate(parts.begin(), parts.end(), std::string());
}

TEST(DividedPass, RanksShareItAndHaveAllOfIt) {
  const SharedDirectory folder;
  const std::filesystem::path kept = folder / "kept" / "pass";
  const auto ranks_size = static_cast<std::int64_t>(ranks().size());
  for (const std::int64_t count : {100, 7, 1}) {
    std::int64_t looked_at = 0;
    const PassPart part = [&](std::int64_t first, std::int64_t some) {
      looked_at += some;
      return bytes_of(first, some);
    };
    const std::string stamp = std::to_string(count);
    for (const char* time : {"first", "again"}) {
      looked_at = 0;
      EXPECT_EQ(whole(pass_of_ranks(ranks(), kept), stamp, count, part), bytes_of(0, count)) << time;
      const bool is_first = std::string(time) == "first";
      EXPECT_GE(looked_at, is_first ? count / ranks_size : 0);
      EXPECT_LE(looked_at, is_first ? count / ranks_size + 1 : 0);
    }
    looked_at = 0;
    EXPECT_EQ(whole(kept_pass(kept), stamp, count, part), bytes_of(0, count));
    EXPECT_EQ(looked_at, 0);
    EXPECT_EQ(whole(pass_of_ranks(ranks(), ""), stamp, count, part), bytes_of(0, count));
    EXPECT_EQ(whole(undivided_pass(), stamp, count, part), bytes_of(0, count));
    ranks().barrier();
  }
}

TEST(DividedPass, ResultsThatCannotBeKeptAreMadeAgain) {
  int made = 0;
  const PassPart part = [&](std::int64_t first, std::int64_t count) {
    ++made;
    return bytes_of(first, count);
  };
  const DividedPass pass = kept_pass("/proc/no/such/folder/pass");
  EXPECT_EQ(whole(pass, "a", 9, part), bytes_of(0, 9));
  EXPECT_EQ(whole(pass, "a", 9, part), bytes_of(0, 9));
  EXPECT_EQ(made, 2);
}

/// A run has no folder yet when its source is looked at first.
TEST(DividedPass, ItIsMadeOnceAndKeptWhenThereIsAPlace) {
  const SharedDirectory folder;
  const std::filesystem::path run = (folder / "runs") / std::to_string(ranks().rank());  // each for itself
  std::filesystem::create_directories(run);
  int made = 0;
  const PassPart part = [&](std::int64_t first, std::int64_t count) {
    ++made;
    return bytes_of(first, count);
  };
  for (int time = 0; time < 2; ++time)
    EXPECT_EQ(whole(kept_pass("/proc/no/such/folder/pass", remembered_pass()), "once", 9, part), bytes_of(0, 9));
  EXPECT_EQ(made, 1);
  EXPECT_EQ(whole(kept_pass(run / "pass", remembered_pass()), "once", 9, part), bytes_of(0, 9));
  EXPECT_TRUE(std::filesystem::exists(run / "pass"));
  EXPECT_EQ(made, 1);
  EXPECT_EQ(whole(kept_pass(run / "pass", remembered_pass()), "other things", 9, part), bytes_of(0, 9));
  EXPECT_EQ(made, 2);
  ranks().barrier();
}

/// One rank asks the file system, whatever the number of ranks.
TEST(DividedPass, OneRankAsksForTheStamp) {
  const SharedDirectory folder;
  int asked = 0;
  const auto stamp = [&] {
    ++asked;
    return std::string("of one");
  };
  pass_of_ranks(ranks(), folder / "pass")(stamp, 5, bytes_of);
  EXPECT_EQ(asked, ranks().is_root() ? 1 : 0);
  ranks().barrier();
}

}  // namespace
}  // namespace couplet::testing
