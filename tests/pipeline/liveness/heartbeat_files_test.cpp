#include "pipeline/liveness/heartbeat_files.h"

#include "storage/filesystem.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

namespace couplet {
namespace {

using State = Activity::State;

/// A directory of this test's own.
struct Scratch {
  fs::path path = fs::temp_directory_path() / ("couplet-files-" + std::to_string(::getpid()));
  Scratch() { fs::remove_all(path); }
  ~Scratch() { fs::remove_all(path); }
};

Heartbeat sample() {
  return {2,  "node-7", 4711,
          99, 1.5e9,    {State::waiting, 12.5, 17, 16, "all_reduce of Float [3, 4]", "step 12 of 40", 2.5}};
}

std::string text_of(const Heartbeat& heartbeat) {
  return heartbeat_text(heartbeat, "job");
}

/// Of a node whose lowest rank is 2.
std::vector<Heartbeat> read(const HeartbeatFiles& files) {
  return files.read(2);
}

TEST(HeartbeatFiles, ReadsWhatWasWrittenOver) {
  const Scratch scratch;
  const HeartbeatFiles files(scratch.path / "ranks", "teacher", "job");
  files.clear();
  EXPECT_TRUE(read(files).empty());
  Heartbeat first = sample();
  first.activity.what = std::string(5000, 'x');
  ASSERT_TRUE(files.write(2, text_of(first)));
  const auto size = fs::file_size(scratch.path / "ranks" / "teacher.2");
  ASSERT_TRUE(files.write(2, text_of(sample())));
  EXPECT_EQ(fs::file_size(scratch.path / "ranks" / "teacher.2"), size);
  ASSERT_EQ(read(files).size(), 1U);
  const Heartbeat found = read(files)[0];
  EXPECT_EQ(found.rank, 2);
  EXPECT_EQ(found.host, "node-7");
  EXPECT_EQ(found.process, 4711);
  EXPECT_EQ(found.number, 99);
  EXPECT_EQ(found.time, 1.5e9);
  EXPECT_EQ(found.activity.state, State::waiting);
  EXPECT_EQ(found.activity.seconds, 12.5);
  EXPECT_EQ(found.activity.collectives, 17);
  EXPECT_EQ(found.activity.waits_for, 16);
  EXPECT_EQ(found.activity.what, "all_reduce of Float [3, 4]");
  EXPECT_EQ(found.activity.step, "step 12 of 40");
  EXPECT_EQ(found.activity.rate, 2.5);
}

TEST(HeartbeatFiles, TakesHalfARecordOrAnotherJobsForNone) {
  const Scratch scratch;
  const HeartbeatFiles files(scratch.path, "teacher", "job");
  files.clear();
  Heartbeat other = sample();
  other.rank = 3;
  const std::string before = text_of(sample()), after = heartbeat_text(sample(), "another job");
  const std::string half = before.substr(0, before.find("node-7")) + after.substr(before.find("node-7"));
  ASSERT_TRUE(files.write(2, half + text_of(other)));
  ASSERT_EQ(read(files).size(), 1U) << "the whole one beside half a one";
  EXPECT_EQ(read(files)[0].rank, 3);
  ASSERT_TRUE(files.write(2, std::string(heartbeat_bytes, '\0') + text_of(other)));
  EXPECT_EQ(read(files).size(), 1U) << "of a rank that has told nothing yet";
  ASSERT_TRUE(files.write(2, after + text_of(other).substr(1)));
  EXPECT_TRUE(read(files).empty());
}

// A rank that has stopped is as old as it is, however late its node's file was written; a clock that is behind that of
// the file's keeper is behind for all ranks of the node.
TEST(HeartbeatFiles, AgesAreEachRanksOwn) {
  const Scratch scratch;
  const HeartbeatFiles files(scratch.path, "teacher", "job");
  files.clear();
  std::string texts;
  for (int rank = 0; rank < 100; ++rank) {
    Heartbeat heartbeat = sample();
    heartbeat.rank = rank;
    heartbeat.time = rank == 70 ? 1000 : 1500;
    texts += text_of(heartbeat);
  }
  ASSERT_TRUE(files.write(0, texts));
  const fs::path file = scratch.path / "teacher.0";
  for (const int written : {1500, 1530}) {
    fs::last_write_time(file, std::chrono::file_clock::from_sys(
                                  std::chrono::sys_time<std::chrono::seconds>(std::chrono::seconds(written))));
    const auto found = HeartbeatFiles::read_all(scratch.path, [](const std::string&) { return true; });
    ASSERT_EQ(found.at("teacher").size(), 100U);
    EXPECT_NEAR(found.at("teacher")[70].time, written - 500, 1e-3);
    EXPECT_NEAR(found.at("teacher")[71].time, written, 1e-3);
    EXPECT_EQ(found.at("teacher")[71].rank, 71);
  }
}

TEST(HeartbeatFiles, AnnouncesTheEndOnce) {
  const Scratch scratch;
  const HeartbeatFiles files(scratch.path, "teacher", "job"), same(scratch.path, "teacher", "job");
  files.clear();
  EXPECT_FALSE(files.end_announced());
  EXPECT_TRUE(same.announce_end("rank 2 did not arrive"));
  EXPECT_FALSE(files.announce_end("rank 2 did not arrive"));
  EXPECT_TRUE(files.end_announced());
  EXPECT_FALSE(HeartbeatFiles(scratch.path, "teacher", "next job").end_announced());
  files.clear();
  EXPECT_FALSE(files.end_announced());
}

TEST(HeartbeatFiles, ClearsItsOwnNameOnly) {
  const Scratch scratch;
  const HeartbeatFiles files(scratch.path, "couple", "job"), part(scratch.path, "couple-0-63", "job");
  files.clear();
  ASSERT_TRUE(files.write(2, text_of(sample())));
  ASSERT_TRUE(part.write(2, text_of(sample())));
  files.clear();
  EXPECT_TRUE(read(files).empty());
  EXPECT_FALSE(read(part).empty());
}

TEST(Activity, IsTheInnermostOfWhatTheRankDoes) {
  EXPECT_EQ(current_activity().state, State::computing);
  note_progress("step 3 of 4");
  EXPECT_EQ(current_activity().step, "step 3 of 4");
  const std::int64_t before = current_activity().collectives;
  {
    const WorkingAlone alone("hashing");
    {
      const WorkingAlone inner("hashing the second half");
      EXPECT_EQ(current_activity().what, "hashing the second half");
      const auto tensor = at::ones({3, 4});
      const Waiting waiting(enter_collective("broadcast", &tensor, 1));
      const Activity now = current_activity();
      EXPECT_EQ(now.state, State::waiting);
      EXPECT_EQ(now.what, "broadcast of Float [3, 4] from rank 1");
      EXPECT_EQ(now.waits_for, before + 1);
    }
    EXPECT_EQ(current_activity().state, State::alone);
    EXPECT_EQ(current_activity().what, "hashing");
  }
  EXPECT_EQ(current_activity().state, State::computing);
  EXPECT_EQ(current_activity().collectives, before + 1);
}

TEST(Activity, ProgressStartsTheClockAnew) {
  note_progress("step 1");
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_GE(current_activity().seconds, 0.02);
  const double before = current_activity().seconds;
  note_progress("step 2");
  EXPECT_LT(current_activity().seconds, before);
}

TEST(Activity, WaitsInACollectiveThatGoesOnAlone) {
  bool done = false;
  const CollectiveCall call = enter_collective("all_reduce"), later = enter_collective("broadcast");
  watch_collective(call, [&] { return done; });
  watch_collective(later, [] { return true; });
  EXPECT_EQ(current_activity().state, State::waiting);
  EXPECT_EQ(current_activity().waits_for, call.number);
  done = true;
  EXPECT_EQ(current_activity().state, State::computing);
}

}  // namespace
}  // namespace couplet
