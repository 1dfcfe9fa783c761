// A coupling that changes as it draws is checkpointed with its student: training that is stopped after any step goes on
// as if it had not been.
#include "pipeline/process/interruption.h"
#include "pipeline/training/trainer.h"
#include "stages/student.h"
#include "tests/pipeline/training/regression_task.h"
#include "tests/pipeline/training/training_files.h"

#include <ATen/ATen.h>

#include <csignal>
#include <optional>

// An executable of its own: a process that was asked to stop stays so.

namespace couplet {
namespace {

constexpr std::int64_t steps = 9, stopped_at = 3;

/// Its noise tells how many steps were drawn, in two ways: a number, and a sum over all that it has drawn.
class CountingCoupling : public Coupling {
public:
  Pairs draw(const BatchRange& range) override {
    count_ += 1;
    sum_ = sum_ * 0.5 + static_cast<double>(range.step);
    const Batch rows = regression_rows(range.first, range.rows);
    const at::Tensor noise = rows[0] * 0.1 + static_cast<double>(count_) + sum_.item<double>();
    return {rows[0], noise, rows[2]};
  }
  std::int64_t held_out_rows() const override { return 0; }
  Pairs held_out(const std::vector<std::int64_t>&) const override { return {}; }
  NamedTensors state() const override { return {{"count", at::scalar_tensor(count_, at::kLong)}, {"sum", sum_}}; }
  void restore(const NamedTensors& state) override {
    count_ = state.at("count").item<std::int64_t>();
    sum_ = state.at("sum");
  }
  nlohmann::json provenance() const override { return {{"toy", true}}; }

private:
  std::int64_t count_ = 0;
  at::Tensor sum_ = at::zeros({}, at::kDouble);
};

class StatelessCoupling : public CountingCoupling {
public:
  NamedTensors state() const override { return {}; }
};

/// One start of the training; nothing if it was interrupted. Rank `signalled` is asked to stop in one step, and stays
/// so from then on.
std::optional<TrainingResult> start(const std::filesystem::path& directory, Coupling& coupling, int signalled) {
  Regression model(1);
  TrainingTask task = regression_task(directory, model, steps);
  task.batch = [&](const BatchRange& range) {
    const Pairs pairs = coupling.draw(range);
    return Batch{pairs.image, pairs.noise, pairs.label};
  };
  task.batch_state = state_of(coupling);
  task.loss = [&](const Batch& rows) {
    if (rows[2][0].item<std::int64_t>() / task.training.batch == stopped_at && ranks().rank() == signalled) {
      kill(getpid(), SIGUSR1);
      while (!stop_requested()) usleep(1000);
    }
    return at::mse_loss(model.forward(rows[1]), rows[0].narrow(1, 0, outputs));
  };
  try {
    return train(task, model, regression_pipeline(100), ranks(), test_device());
  } catch (const Interrupted&) {
    return std::nullopt;
  }
}

std::optional<TrainingResult> start(const std::filesystem::path& directory, int signalled) {
  CountingCoupling coupling;
  return start(directory, coupling, signalled);
}

TEST(CouplingState, ACheckpointWithoutItsFileIsAnErrorThatNamesIt) {
  const SharedDirectory directory;
  const auto path = directory / "training";
  StatelessCoupling stateless;
  EXPECT_FALSE(state_of(stateless));
  Regression model(1);
  TrainingTask task = regression_task(path, model, steps);
  int calls = 0;
  task.loss = [&](const Batch& rows) {
    if (++calls > 7) fail("enough");
    return at::mse_loss(model.forward(rows[0]), rows[1]);
  };
  error_of([&] { train(task, model, regression_pipeline(2), ranks(), test_device()); });
  const std::string error = error_of([&] { start(path, -1); });
  expect_contains(error, "checkpoint step-0");
  expect_contains(error, "coupling.safetensors");
}

TEST(CouplingState, StoppedAfterSeveralStepsAndResumedIsBitEqual) {
  const SharedDirectory directory;
  const auto whole = directory / "whole", broken = directory / "broken";
  const auto expected = start(whole, -1);
  ASSERT_TRUE(expected);

  watch_signals();
  std::optional<TrainingResult> result;
  int starts = 0;
  // From one step on the request stands: every start does one step more, the last one none.
  for (; !result && starts < 20; ++starts) result = start(broken, ranks().size() - 1);
  ASSERT_TRUE(result);
  EXPECT_EQ(starts, steps - stopped_at + 1);
  expect_same_result(*result, *expected);
  EXPECT_EQ(metrics_of(broken), metrics_of(whole)) << "the digests of all batches";
}

}  // namespace
}  // namespace couplet
