#include "pipeline/process/log.h"

#include "pipeline/training/metrics_log.h"
#include "training_files.h"

#include <cmath>
#include <limits>
#include <thread>

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

TEST(Metrics, CutsWhatWillBeMadeAgain) {
  const SharedDirectory directory;
  const auto path = directory / "run" / "metrics.jsonl";
  std::string text;
  for (int step = 0; step < 10; ++step) text += fmt::format("{{\"step\":{},\"loss\":0.5}}\n", step);
  write_lines(path, text + "{\"step\":10,\"lo");  // a kill tore the last line
  {
    Metrics metrics(path, 7);
    EXPECT_EQ(metrics.lost_steps(), 3);
    metrics.write({{"step", 7}, {"loss", 0.1}});
  }
  const auto lines = json_lines(path);
  ASSERT_EQ(lines.size(), 8U);
  for (std::size_t i = 0; i < lines.size(); ++i) EXPECT_EQ(lines[i].at("step"), i);
  EXPECT_EQ(lines.back().at("loss"), 0.1);
}

TEST(Metrics, StartsAnewAtStepZeroAndInAFileThatIsNotThere) {
  const SharedDirectory directory;
  const auto path = directory / "run" / "metrics.jsonl";
  { EXPECT_EQ(Metrics(path, 0).lost_steps(), 0); }
  write_lines(path, "{\"step\":0}\n{\"step\":1}\n");
  { EXPECT_EQ(Metrics(path, 0).lost_steps(), 2); }
  EXPECT_EQ(read_file(path), "");
  write_lines(path, "{\"st");
  { EXPECT_EQ(Metrics(path, 5).lost_steps(), 0); }
  EXPECT_EQ(read_file(path), "");
}

TEST(Metrics, RefusesALineThatIsNoJson) {
  const SharedDirectory directory;
  const auto path = directory / "run" / "metrics.jsonl";
  write_lines(path, "{\"step\":0}\nnonsense\n");
  expect_contains(error_of([&] { Metrics(path, 1); }), "byte 11");
}

TEST(Metrics, KeepsEveryDigit) {
  const SharedDirectory directory;
  const auto path = directory / "run" / "metrics.jsonl";
  const double value = 0.1 + 0.2;
  { Metrics(path, 0).write({{"step", 0}, {"loss", value}}); }
  EXPECT_EQ(json_lines(path).at(0).at("loss").get<double>(), value);
}

}  // namespace
}  // namespace couplet
