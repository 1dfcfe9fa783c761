#include "pipeline/process/log.h"

#include "storage/files/atomic_file.h"
#include "tests/pipeline/pipeline_testing.h"

#include <chrono>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace couplet {
namespace {

void write_lines(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

TEST(Log, LinesGoToStdoutAndToTheFile) {
  const SharedDirectory directory;
  const auto path = directory / "log" / "teacher.log";
  write_lines(path, "before\n");
  open_log(path, "teacher", 0);
  testing::internal::CaptureStdout();
  say("step {}", 3);
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "teacher: step 3\n");
  testing::internal::CaptureStderr();
  warn_line("careful");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "teacher: warning: careful\n");
  EXPECT_EQ(read_file(path), "before\nteacher: step 3\nteacher: warning: careful\n");
  open_log("", "", 0);
}

TEST(Log, OnlyRankZeroSpeaksAndEveryRankWarns) {
  open_log("", "couple", 2, 3);
  testing::internal::CaptureStdout();
  say("nothing");
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "");
  testing::internal::CaptureStderr();
  warn_line("careful");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "couple: rank 2: warning: careful\n");
  open_log("", "", 0, 3);
  testing::internal::CaptureStderr();
  warn_line("careful");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "rank 0: warning: careful\n");
  open_log("", "", 0);
}

TEST(Log, ThreadsDoNotMixLines) {
  testing::internal::CaptureStdout();
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([] {
      for (int k = 0; k < 100; ++k) say("{}", std::string(50, 'x'));
    });
  }
  for (auto& thread : threads) thread.join();
  std::istringstream lines(testing::internal::GetCapturedStdout());
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) EXPECT_EQ(line, std::string(50, 'x'));
  EXPECT_EQ(count, 400);
}

TEST(Progress, IsDueFirstLastAndAtIntervals) {
  Progress progress(10, 100, 3600);
  EXPECT_TRUE(progress.due(11));
  EXPECT_FALSE(progress.due(12));
  EXPECT_TRUE(progress.due(100));
  Progress often(0, 100, 0);
  EXPECT_TRUE(often.due(1));
  EXPECT_TRUE(often.due(2));
}

TEST(Progress, CountsFromWhereItStarted) {
  Progress progress(10, 100);
  EXPECT_EQ(progress.remaining(10), "unknown");
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_GT(progress.rate(20), 0);
  EXPECT_LE(progress.rate(20), 10 / 0.05);
  EXPECT_EQ(progress.remaining(100), "0 s");
}

}  // namespace
}  // namespace couplet
