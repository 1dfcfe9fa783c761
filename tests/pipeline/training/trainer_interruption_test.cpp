#include "pipeline/process/interruption.h"
#include "pipeline/training/trainer.h"
#include "tests/pipeline/training/regression_task.h"
#include "tests/pipeline/training/training_files.h"

#include <csignal>
#include <optional>

// An executable of its own: a process that was asked to stop stays so.

namespace couplet {
namespace {

constexpr std::int64_t steps = 10;

/// One start of the stage; nothing if it was interrupted. Rank `signalled` is sent SIGUSR1 while it makes the batch of
/// step 4.
std::optional<TrainingResult> start(const std::filesystem::path& directory, int signalled) {
  Regression model(1);
  TrainingTask task = regression_task(directory, model, steps);
  task.loss = [&](const Batch& rows) {
    if (rows[2][0].item<std::int64_t>() / task.training.batch == 4 && ranks().rank() == signalled) {
      kill(getpid(), SIGUSR1);
      while (!stop_requested()) usleep(1000);
    }
    return at::mse_loss(model.forward(rows[0]), rows[1]);
  };
  try {
    return train(task, model, regression_pipeline(100), ranks(), test_device());
  } catch (const Interrupted& interrupted) {
    expect_contains(interrupted.what(), "checkpoint is saved");
    EXPECT_EQ(interrupted.status(), exit_interrupted);
    return std::nullopt;
  }
}

TEST(Trainer, StopsOnARequestToOneRankAndGoesOnBitEqual) {
  const SharedDirectory directory;
  const auto whole = directory / "whole", broken = directory / "broken";
  const auto expected = start(whole, -1);
  ASSERT_TRUE(expected);

  watch_signals();
  std::optional<TrainingResult> result;
  int starts = 0;
  // From step 4 on the request stands: every start does one step more, the last one none.
  for (; !result && starts < 20; ++starts) result = start(broken, ranks().size() - 1);
  ASSERT_TRUE(result);
  EXPECT_EQ(starts, 7);
  expect_same_result(*result, *expected);
  EXPECT_EQ(metrics_of(broken), metrics_of(whole));

  const auto events = json_lines(broken / "events.jsonl");
  ASSERT_EQ(events.size(), 14U);
  for (std::size_t i = 0; i < events.size(); ++i) {
    EXPECT_EQ(events[i].at("lost_steps"), 0);
    const std::string expected_name = i == 0                   ? "start"
                                      : i + 1 == events.size() ? "finished"
                                      : i % 2 == 1             ? "interrupted"
                                                               : "resume";
    EXPECT_EQ(events[i].at("event"), expected_name) << i;
  }
  EXPECT_EQ(events[1].at("step"), 5);
}

}  // namespace
}  // namespace couplet
