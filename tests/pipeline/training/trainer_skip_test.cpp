#include "pipeline/training/trainer.h"

#include "storage/error.h"
#include "tests/pipeline/training/regression_reference.h"
#include "tests/pipeline/training/regression_task.h"
#include "tests/pipeline/training/training_files.h"

#include <limits>
#include <optional>
#include <set>

// Steps whose numbers are not finite.

namespace couplet {
namespace {

constexpr std::int64_t steps = 10, batch = 12;

/// Trains with a loss that is not a number in some steps on the last rank; crashes after the update of step `crash_at`.
TrainingResult run(const std::filesystem::path& directory, const std::set<std::int64_t>& bad, std::int64_t max_skipped,
                   std::int64_t crash_at = -1) {
  Regression model(1);
  TrainingTask task = regression_task(directory, model, steps);
  task.loss = [&](const Batch& rows) {
    const at::Tensor loss = at::mse_loss(model.forward(rows[0]), rows[1]);
    const bool is_bad = bad.contains(rows[2][0].item<std::int64_t>() / batch) && ranks().rank() == ranks().size() - 1;
    return is_bad ? loss * std::numeric_limits<double>::quiet_NaN() : loss;
  };
  task.after_step = [&](const Batch& rows) {
    model.updates.add_(1);
    if (rows[2][0].item<std::int64_t>() / batch == crash_at) fail("crash");
  };
  PipelineConfig pipeline = regression_pipeline(3);
  pipeline.max_skipped = max_skipped;
  return train(task, model, pipeline, ranks(), test_device());
}

TEST(Skipping, AStepWithoutAFiniteLossChangesNothing) {
  const SharedDirectory directory;
  const auto path = directory / "run";
  testing::internal::CaptureStderr();
  const TrainingResult result = run(path, {0, 4}, 2);
  const std::string warnings = testing::internal::GetCapturedStderr();
  if (ranks().is_root()) {
    const std::string rank = std::to_string(ranks().size() - 1);
    expect_contains(warnings, "the loss of step 0 is nan on rank " + rank + "; it is skipped: 1 of at most 2");
    expect_contains(warnings, "the loss of step 4 is nan on rank " + rank + "; it is skipped: 2 of at most 2");
  }
  Regression model(1);
  const RegressionReference expected(regression_task(path, model, steps).training, steps, {0, 4});
  EXPECT_TRUE(at::allclose(result.weights.at("weight").to(at::kDouble), expected.weight.value, 1e-4, 1e-5));
  EXPECT_TRUE(at::allclose(result.ema.at("weight").to(at::kDouble), expected.weight.emas[0], 1e-4, 1e-5));
  EXPECT_EQ(result.weights.at("updates").item<float>(), steps - 2) << "after_step of a skipped step";

  const auto lines = json_lines(path / "metrics.jsonl");
  ASSERT_EQ(lines.size(), static_cast<std::size_t>(steps));
  for (std::size_t step = 0; step < lines.size(); ++step) {
    const bool skipped = step == 0 || step == 4;
    EXPECT_EQ(lines[step].at("loss").is_null(), skipped) << step;
    EXPECT_EQ(lines[step].at("skipped"), step < 4 ? 1 : 2);
  }
}

TEST(Skipping, TheCountSurvivesAResume) {
  const SharedDirectory directory;
  const auto whole = directory / "whole", broken = directory / "broken";
  const TrainingResult expected = run(whole, {1, 7}, 2);
  EXPECT_EQ(error_of([&] { run(broken, {1, 7}, 2, 4); }), "crash");
  expect_same_result(run(broken, {1, 7}, 2), expected);
  EXPECT_EQ(metrics_of(broken), metrics_of(whole));
}

TEST(Skipping, OneTooManyStopsWithTheLastCheckpointIntact) {
  const SharedDirectory directory;
  const auto whole = directory / "whole", broken = directory / "broken";
  EXPECT_EQ(error_of([&] { run(broken, {1, 7}, 1, 4); }), "crash");
  const std::string message = error_of([&] { run(broken, {1, 7}, 1); });
  expect_contains(message, "the loss of step 7 is nan on rank " + std::to_string(ranks().size() - 1));
  expect_contains(message, "2 steps are more than pipeline.max-skipped = 1");
  expect_contains(message, "the last checkpoint is intact; a lower teacher.learning-rate");
  // What spoilt step 7 is gone: training goes on from there.
  expect_same_result(run(broken, {1}, 1), run(whole, {1}, 1));
}

// On 10a555e training that skipped every step ended well.
TEST(Skipping, OfEveryStepIsNoTraining) {
  const SharedDirectory directory;
  testing::internal::CaptureStderr();
  const std::string message = error_of([&] { run(directory / "run", {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, 20); });
  testing::internal::GetCapturedStderr();
  expect_contains(message, "teacher: all 10 steps were skipped");
}

TEST(Skipping, AGradientThatIsNotFiniteCountsToo) {
  const SharedDirectory directory;
  Regression model(1);
  TrainingTask task = regression_task(directory / "run", model, steps);
  task.loss = [&](const Batch& rows) {
    if (rows[2][0].item<std::int64_t>() / batch != 2) return at::mse_loss(model.forward(rows[0]), rows[1]);
    return (model.weight - model.weight).abs().sqrt().sum();  // 0, with slope 0 · inf
  };
  PipelineConfig pipeline = regression_pipeline(100);
  pipeline.max_skipped = 1;
  testing::internal::CaptureStderr();
  const TrainingResult result = train(task, model, pipeline, ranks(), test_device());
  const std::string warnings = testing::internal::GetCapturedStderr();
  if (ranks().is_root()) expect_contains(warnings, "the norm of the gradient of step 2 is nan");
  EXPECT_EQ(result.last.at("skipped"), 1);
  const RegressionReference expected(task.training, steps, {2});
  EXPECT_TRUE(at::allclose(result.weights.at("weight").to(at::kDouble), expected.weight.value, 1e-4, 1e-5));
}

}  // namespace
}  // namespace couplet
