#include "pipeline/liveness/heartbeat_files.h"

#include "storage/files/atomic_file.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <thread>

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

TEST(HeartbeatFiles, ReadsWhatWasWrittenOver) {
  const Scratch scratch;
  const HeartbeatFiles files(scratch.path / "ranks", "teacher", "job");
  files.clear();
  EXPECT_FALSE(files.read(2));
  Heartbeat first = sample();
  first.activity.what = std::string(5000, 'x');
  ASSERT_TRUE(files.write(first));
  const auto size = fs::file_size(scratch.path / "ranks" / "teacher.2");
  ASSERT_TRUE(files.write(sample()));
  EXPECT_EQ(fs::file_size(scratch.path / "ranks" / "teacher.2"), size);
  const auto read = files.read(2);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->rank, 2);
  EXPECT_EQ(read->host, "node-7");
  EXPECT_EQ(read->process, 4711);
  EXPECT_EQ(read->number, 99);
  EXPECT_EQ(read->time, 1.5e9);
  EXPECT_EQ(read->activity.state, State::waiting);
  EXPECT_EQ(read->activity.seconds, 12.5);
  EXPECT_EQ(read->activity.collectives, 17);
  EXPECT_EQ(read->activity.waits_for, 16);
  EXPECT_EQ(read->activity.what, "all_reduce of Float [3, 4]");
  EXPECT_EQ(read->activity.step, "step 12 of 40");
  EXPECT_EQ(read->activity.rate, 2.5);
}

TEST(HeartbeatFiles, TakesHalfARecordOrAnotherJobsForNone) {
  const Scratch scratch;
  const HeartbeatFiles files(scratch.path, "teacher", "job");
  files.clear();
  Heartbeat other = sample();
  other.number = 100;
  ASSERT_TRUE(files.write(sample()));
  const std::string before = read_file(scratch.path / "teacher.2");
  ASSERT_TRUE(files.write(other));
  const std::string after = read_file(scratch.path / "teacher.2");
  const std::size_t half = after.find("99") == std::string::npos ? before.find("99") : 0;
  publish_file(scratch.path / "teacher.2", before.substr(0, half) + after.substr(half));
  EXPECT_FALSE(files.read(2));
  ASSERT_TRUE(HeartbeatFiles(scratch.path, "teacher", "another job").write(sample()));
  EXPECT_FALSE(files.read(2));
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
  ASSERT_TRUE(files.write(sample()));
  ASSERT_TRUE(part.write(sample()));
  files.clear();
  EXPECT_FALSE(files.read(2));
  EXPECT_TRUE(part.read(2));
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
