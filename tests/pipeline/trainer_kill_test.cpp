#include "training_files.h"

#include <fmt/format.h>

// SIGKILL of one rank in the middle of training, on one and on two ranks.

namespace couplet {
namespace {

constexpr int steps = 30;

/// One start of the training process. True if it came to its end.
bool start(int processes, const std::filesystem::path& directory, int kill_at) {
  const std::string launcher =
      processes == 1 ? "" : fmt::format("{} --oversubscribe -n {} ", COUPLET_MPIEXEC, processes);
  const std::string command = fmt::format("{}{} {} {} {} > {}/output 2>&1", launcher, COUPLET_TRAINING_PROCESS,
                                          directory.string(), steps, kill_at, directory.string());
  return std::system(command.c_str()) == 0;
}

class Kill : public testing::TestWithParam<int> {};

TEST_P(Kill, TrainingGoesOnBitEqual) {
  const int processes = GetParam();
  const SharedDirectory directory;
  const auto whole = directory / "whole", killed = directory / "killed";
  ASSERT_TRUE(start(processes, whole, -1)) << read_file(whole / "output");
  for (const int kill_at : {2, 7, 9, 10, 22}) EXPECT_FALSE(start(processes, killed, kill_at)) << kill_at;
  ASSERT_TRUE(start(processes, killed, -1)) << read_file(killed / "output");

  for (const char* file : {"weights.safetensors", "ema.safetensors"}) {
    EXPECT_EQ(read_file(whole / file), read_file(killed / file)) << file;
  }
  EXPECT_EQ(metrics_of(killed), metrics_of(whole));
  const auto events = json_lines(killed / "events.jsonl");
  ASSERT_EQ(events.size(), 7U);
  // After the kill in step 9 the other of two ranks may still have published the checkpoint of 10 steps.
  const std::vector<int> resumed_at = {0, 0, 5, 5, 10, 20};
  for (std::size_t i = 0; i < resumed_at.size(); ++i) {
    if (processes > 1 && i == 3 && events[i].at("step") == 10) continue;
    EXPECT_EQ(events[i].at("step"), resumed_at[i]);
  }
  EXPECT_EQ(events[6].at("event"), "finished");
}

INSTANTIATE_TEST_SUITE_P(Ranks, Kill, testing::Values(1, 2));

}  // namespace
}  // namespace couplet
