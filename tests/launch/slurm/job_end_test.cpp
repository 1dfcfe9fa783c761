#include "launch/slurm/job_end.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace couplet {
namespace {

class JobEnds : public testing::Test {
protected:
  std::filesystem::path path_ =
      std::filesystem::temp_directory_path() / ("couplet-job-end-" + std::to_string(::getpid()));
  ~JobEnds() override { std::filesystem::remove(path_); }
  std::optional<JobEnd> read(const std::string& text) {
    std::ofstream(path_) << text;
    return read_job_end(path_);
  }
};

TEST_F(JobEnds, HoldWhatTheScriptLeft) {
  const auto end = read(
      "{\"time\":1767323045,\"stage\":\"student/nf-0\",\"state\":\"retried\",\"reason\":\"a \\\"b\\\" \\\\ "
      "größe\\nline\",\"log\":\"/runs/x y/log/slurm.out\"}\n");
  ASSERT_TRUE(end);
  EXPECT_EQ(end->time, 1767323045);
  EXPECT_EQ(end->stage, "student/nf-0");
  EXPECT_EQ(end->state, JobEndState::retried);
  EXPECT_EQ(end->reason, "a \"b\" \\ größe line");
  EXPECT_EQ(end->log, "/runs/x y/log/slurm.out");
}

TEST_F(JobEnds, GoOnInTwoStates) {
  for (const char* state : {"requeued", "retried", "failed", "cancelled", "refused", "stopped"}) {
    const auto end =
        read(std::string("{\"time\":1,\"stage\":\"\",\"state\":\"") + state + "\",\"reason\":\"\",\"log\":\"\"}");
    ASSERT_TRUE(end);
    EXPECT_EQ(end->goes_on(), std::string(state) == "requeued" || std::string(state) == "retried") << state;
  }
}

TEST_F(JobEnds, BytesThatAreNoTextAreReplaced) {
  const auto end = read("{\"time\":1,\"stage\":\"\",\"state\":\"stopped\",\"reason\":\"n\xff!\",\"log\":\"\"}");
  ASSERT_TRUE(end);
  EXPECT_EQ(end->state, JobEndState::stopped);
  EXPECT_EQ(end->reason, "n\ufffd!");
}

TEST_F(JobEnds, OtherTextIsTheReasonOfAFailure) {
  EXPECT_FALSE(read_job_end(path_));
  EXPECT_FALSE(read(""));
  const auto end = read("2026-01-02 teacher: cancelled; queued again (1 of 2)\nmore\n");
  ASSERT_TRUE(end);
  EXPECT_EQ(end->state, JobEndState::failed);
  EXPECT_EQ(end->reason, "2026-01-02 teacher: cancelled; queued again (1 of 2)");
  EXPECT_FALSE(end->goes_on());
}

}  // namespace
}  // namespace couplet
