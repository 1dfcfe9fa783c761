#include "pipeline/training/trainer.h"
#include "pipeline/optimizer/schedule.h"

#include "pipeline/checkpoint/checkpoint.h"
#include "pipeline/optimizer/ema.h"
#include "pipeline/training/digest.h"
#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/files/hash.h"
#include "tests/pipeline/training/regression_task.h"
#include "tests/pipeline/training/training_files.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <fstream>
#include <limits>
#include <map>
#include <numeric>
#include <optional>

// On any number of ranks. What is expected is computed from the whole batch on every rank, in double precision.

namespace couplet {
namespace {

constexpr std::int64_t steps = 10, batch = 12;

TrainingResult run(TrainingTask& task, Regression& model, std::int64_t checkpoint_every = 3) {
  return train(task, model, regression_pipeline(checkpoint_every), ranks(), test_device());
}

/// Trains in `directory` to the end.
TrainingResult run(const std::filesystem::path& directory, std::int64_t checkpoint_every = 3) {
  Regression model(1);
  TrainingTask task = regression_task(directory, model, steps);
  return run(task, model, checkpoint_every);
}

/// Trains in `directory` until all ranks throw after the update of step `last`, as a crash would end them.
void run_and_crash(const std::filesystem::path& directory, std::int64_t last) {
  Regression model(1);
  TrainingTask task = regression_task(directory, model, steps);
  std::int64_t left = last;
  task.after_step = [&](const Batch&) {
    model.updates.add_(1);
    if (left-- == 0) fail("crash");
  };
  EXPECT_EQ(error_of([&] { run(task, model); }), "crash");
}

TEST(Trainer, DigestsAreThoseOfTheGlobalBatch) {
  const SharedDirectory directory;
  const auto path = directory / "run";
  run(path);
  const auto lines = json_lines(path / "metrics.jsonl");
  ASSERT_EQ(lines.size(), static_cast<std::size_t>(steps));
  for (std::int64_t step = 0; step < steps; ++step) {
    std::uint64_t sum = 0;
    for (std::int64_t position = step * batch; position < (step + 1) * batch; ++position) {
      auto hash = static_cast<std::uint64_t>(position);
      for (const at::Tensor& tensor : regression_rows(position, 1)) {
        hash = hash64({static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()}, hash);
      }
      sum += hash;
    }
    EXPECT_EQ(lines[static_cast<std::size_t>(step)].at("digest"), digest_text(sum));
  }
}

// What a batch is made from may come from another rank: all have told each other by the time that it is made.
TEST(Trainer, TheRanksAgreeOnABatchBeforeItIsMade) {
  const SharedDirectory directory;
  Regression model(1);
  TrainingTask task = regression_task(directory / "run", model, steps);
  std::vector<std::int64_t> agreed;
  std::atomic<std::int64_t> known = -1;
  std::atomic<bool> early = true;
  task.agree_on_batch = [&](std::int64_t step) {
    at::Tensor told = at::scalar_tensor(ranks().rank() == step % ranks().size() ? 100 + step : 0, at::kLong);
    ranks().broadcast(told, static_cast<int>(step % ranks().size()));
    EXPECT_EQ(told.item<std::int64_t>(), 100 + step);
    agreed.push_back(step);
    known = step;
  };
  task.batch = [&](const BatchRange& range) {
    if (known < range.step) early = false;
    return regression_rows(range.first, range.rows);
  };
  run(task, model);
  EXPECT_TRUE(early) << "a batch was made before the ranks had agreed on it";
  // The plan of memory makes the first batch once more.
  std::vector<std::int64_t> expected(static_cast<std::size_t>(steps));
  std::iota(expected.begin(), expected.end(), 0);
  ASSERT_GE(agreed.size(), expected.size());
  EXPECT_TRUE(std::equal(expected.rbegin(), expected.rend(), agreed.rbegin()));
}

TEST(Trainer, GoesOnBitEqualAfterACrash) {
  const SharedDirectory directory;
  const auto whole = directory / "whole", broken = directory / "broken";
  const TrainingResult expected = run(whole);
  run_and_crash(broken, 8);  // metrics hold steps 0 … 7, the checkpoint is of 6 steps
  const TrainingResult result = run(broken);
  expect_same_result(result, expected);
  EXPECT_EQ(metrics_of(broken), metrics_of(whole));

  const auto events = json_lines(broken / "events.jsonl");
  ASSERT_EQ(events.size(), 3U);
  EXPECT_EQ(events[0].at("event"), "start");
  EXPECT_EQ(events[1].at("event"), "resume");
  EXPECT_EQ(events[1].at("step"), 6);
  EXPECT_EQ(events[1].at("lost_steps"), 2);
  EXPECT_EQ(events[1].at("ranks"), ranks().size());
  EXPECT_EQ(events[2].at("event"), "finished");
  EXPECT_EQ(events[2].at("step"), steps);
}

TEST(Trainer, StartsAnewAfterACrashBeforeTheFirstCheckpoint) {
  const SharedDirectory directory;
  const auto whole = directory / "whole", broken = directory / "broken";
  run_and_crash(broken, 1);
  expect_same_result(run(broken), run(whole));
  EXPECT_EQ(metrics_of(broken), metrics_of(whole));
  EXPECT_EQ(json_lines(broken / "events.jsonl").at(1).at("lost_steps"), 1);
}

TEST(Trainer, ADamagedCheckpointFallsBackToTheOneBefore) {
  const SharedDirectory directory;
  const auto whole = directory / "whole", broken = directory / "broken";
  const TrainingResult expected = run(whole);
  run_and_crash(broken, 8);
  if (ranks().is_root()) {
    std::fstream file(broken / "checkpoints" / "step-00000006" / "ema.safetensors",
                      std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(-3, std::ios::end);
    file.put('\x5a');
  }
  ranks().barrier();
  testing::internal::CaptureStderr();
  const TrainingResult result = run(broken);
  const std::string warnings = testing::internal::GetCapturedStderr();
  if (ranks().is_root()) {
    expect_contains(warnings, "step-00000006");
    expect_contains(warnings, "ema.safetensors");
    expect_contains(warnings, "damaged");
  }
  expect_same_result(result, expected);
  EXPECT_EQ(metrics_of(broken), metrics_of(whole));
  EXPECT_EQ(json_lines(broken / "events.jsonl").at(1).at("step"), 3);
}

TEST(Trainer, AnotherProvenanceIsRefused) {
  const SharedDirectory directory;
  const auto path = directory / "run";
  run_and_crash(path, 4);
  Regression model(1);
  TrainingTask task = regression_task(path, model, steps);
  task.provenance["teacher"]["channels"] = 128;
  const std::string message = error_of([&] { run(task, model); });
  expect_contains(message, "teacher.channels is 64 in the checkpoint, 128 now");
  EXPECT_EQ(message.find("dataset"), std::string::npos) << message;
}

TEST(Trainer, ABatchThatDoesNotDivideIsRefused) {
  const SharedDirectory directory;
  Regression model(1);
  TrainingTask task = regression_task(directory / "run", model, steps);
  task.name = "student/nf-0";
  task.training.batch = 64;
  if (ranks().size() == 3) {
    EXPECT_EQ(error_of([&] { run(task, model); }),
              "student.batch = 64 does not divide by 3 ranks; the nearest valid batch: 63 or 66; ranks that divide 64: "
              "1, 2, 4, 8, 16, 32, 64");
  } else {
    EXPECT_NO_THROW(run(task, model));
  }
}

TEST(Trainer, ALossThatIsNotANumberNamesStepAndRank) {
  const SharedDirectory directory;
  const auto whole = directory / "whole", broken = directory / "broken";
  const int bad_rank = ranks().size() - 1;
  Regression model(1);
  TrainingTask task = regression_task(broken, model, steps);
  task.loss = [&](const Batch& rows) {
    at::Tensor loss = at::mse_loss(model.forward(rows[0]), rows[1]);
    const bool bad = rows[2][0].item<std::int64_t>() / batch == 7 && ranks().rank() == bad_rank;
    return bad ? loss * std::numeric_limits<double>::quiet_NaN() : loss;
  };
  const std::string message = error_of([&] { run(task, model); });
  expect_contains(message, "the loss of step 7 is nan on rank " + std::to_string(bad_rank));
  expect_same_result(run(broken), run(whole));
}

TEST(Trainer, AGradientThatIsNotFiniteStopsBeforeTheUpdate) {
  const SharedDirectory directory;
  Regression model(1);
  TrainingTask task = regression_task(directory / "run", model, steps);
  task.loss = [&](const Batch&) { return (model.weight - model.weight).abs().sqrt().sum(); };  // 0, with slope 0 · inf
  const at::Tensor before = model.weight.detach().clone();
  expect_contains(error_of([&] { run(task, model); }), "the norm of the gradient of step 0 is nan");
  EXPECT_TRUE(model.weight.cpu().equal(before));
}

TEST(Trainer, ARankThatFailsEndsAllRanks) {
  const SharedDirectory directory;
  const int bad_rank = ranks().size() - 1;
  Regression model(1);
  TrainingTask task = regression_task(directory / "run", model, steps);
  task.batch = [&](const BatchRange& range) {
    if (range.step == 5 && ranks().rank() == bad_rank) fail("block 3 of images is damaged");
    return regression_rows(range.first, range.rows);
  };
  const std::string message = error_of([&] { run(task, model); });
  if (ranks().rank() == bad_rank) {
    EXPECT_EQ(message, "block 3 of images is damaged");
  } else {
    expect_contains(message, "rank " + std::to_string(bad_rank) + " failed in step 5");
  }
}

TEST(Trainer, EveryRankStartsFromRankZerosWeights) {
  const SharedDirectory directory;
  Regression model(static_cast<std::uint64_t>(1 + ranks().rank()));
  TrainingTask task = regression_task(directory / "other", model, steps);
  expect_same_result(run(task, model), run(directory / "same"));
}

TEST(Trainer, BFloat16KeepsFloat32WeightsAndResumesBitEqual) {
  const SharedDirectory directory;
  const auto train_to = [&](const std::filesystem::path& path, bool crash) -> std::optional<TrainingResult> {
    Regression model(1);
    TrainingTask task = regression_task(path, model, steps);
    task.training.precision = "bfloat16";
    at::ScalarType computed = at::kFloat;
    task.loss = [&](const Batch& rows) {
      const at::Tensor y = model.forward(rows[0]);
      computed = y.scalar_type();
      return at::mse_loss(y.to(at::kFloat), rows[1]);
    };
    std::int64_t left = 7;
    task.after_step = [&](const Batch&) {
      model.updates.add_(1);
      if (crash && left-- == 0) fail("crash");
    };
    std::optional<TrainingResult> result;
    const std::string message = error_of([&] { result = run(task, model); });
    EXPECT_EQ(message, crash ? "crash" : "no error");
    EXPECT_EQ(computed, at::kBFloat16);
    return result;
  };
  const auto whole = train_to(directory / "whole", false);
  train_to(directory / "broken", true);
  const auto resumed = train_to(directory / "broken", false);
  ASSERT_TRUE(whole && resumed);
  expect_same_result(*resumed, *whole);
  EXPECT_EQ(resumed->weights.at("weight").scalar_type(), at::kFloat);
  const TrainingResult full = run(directory / "float32");
  EXPECT_NEAR(resumed->last.at("loss"), full.last.at("loss").get<double>(), 0.05);
}

TEST(Trainer, ValidationStandsInTheMetricsAtItsSteps) {
  const SharedDirectory directory;
  Regression model(1);
  TrainingTask task = regression_task(directory / "run", model, steps);
  task.validate_every = 4;
  task.validate = [&] { return nlohmann::json{{"test_loss", ranks().maximum(3)}}; };
  const TrainingResult result = run(task, model);
  EXPECT_EQ(result.last.at("test_loss"), 3);
  for (const auto& line : json_lines(task.directory / "metrics.jsonl")) {
    const auto done = line.at("step").get<std::int64_t>() + 1;
    EXPECT_EQ(line.contains("test_loss"), done % 4 == 0 || done == steps) << line;
  }
}

TEST(Trainer, TheBestCheckpointIsKeptBesideTheLast) {
  const SharedDirectory directory;
  const auto path = directory / "run";
  const std::map<std::int64_t, double> figures = {{2, 5}, {4, 1}, {6, 4}, {8, 2}, {10, 2.5}};
  const auto start = [&](std::int64_t crash_after) {
    Regression model(1);
    TrainingTask task = regression_task(path, model, steps);
    std::int64_t done = 0;
    task.after_step = [&](const Batch& rows) {
      model.updates.add_(1);
      done = rows[2][0].item<std::int64_t>() / batch + 1;
      if (done == crash_after) fail("crash");
    };
    task.validate_every = 2;
    task.best_of = "test_loss";
    task.validate = [&] { return nlohmann::json{{"test_loss", figures.at(done)}}; };
    return error_of([&] { run(task, model, 3); });
  };
  EXPECT_EQ(start(8), "crash");
  const auto checkpoints = path / "checkpoints";
  ranks().barrier();
  EXPECT_EQ(checkpoint_steps(checkpoints), (std::vector<std::int64_t>{6, 4}));
  EXPECT_EQ(read_file(checkpoints / "best"), "step-00000004\n");
  // What was the best is known after the resume: step 8's figure is better than none of before, but not than 4's.
  EXPECT_EQ(start(-1), "no error");
  ranks().barrier();
  EXPECT_EQ(checkpoint_steps(checkpoints), (std::vector<std::int64_t>{9, 6, 4}));
  EXPECT_EQ(read_file(checkpoints / "best"), "step-00000004\n");
}

TEST(Trainer, ACheckpointThatCannotBeWrittenEndsAllRanks) {
  const SharedDirectory directory;
  const auto path = directory / "run";
  Regression model(1);
  TrainingTask task = regression_task(path, model, steps);
  task.after_step = [&](const Batch& rows) {
    model.updates.add_(1);
    if (rows[2][0].item<std::int64_t>() / batch != 2 || !ranks().is_root()) return;
    std::filesystem::remove_all(path / "checkpoints");
    std::ofstream(path / "checkpoints") << "a file";
  };
  const std::string message = error_of([&] { run(task, model, 5); });
  EXPECT_NE(message, "no error");
  if (ranks().is_root()) expect_contains(message, "checkpoints");
  EXPECT_EQ(json_lines(path / "events.jsonl").size(), 1U) << "it must not count as finished";
}

TEST(Schedule, WarmsUpThenFollowsACosine) {
  TrainingConfig training;
  training.images = 1001;
  training.batch = 10;
  training.learning_rate = 2;
  training.final_learning_rate = 1;
  training.warmup = 4;
  EXPECT_EQ(training_steps(training), 101);
  EXPECT_DOUBLE_EQ(learning_rate(training, 0), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate(training, 3), 2);
  EXPECT_DOUBLE_EQ(learning_rate(training, 4), 2);
  EXPECT_DOUBLE_EQ(learning_rate(training, 52), 1.5);
  EXPECT_DOUBLE_EQ(learning_rate(training, 100), 1);
  training.warmup = 0;
  EXPECT_DOUBLE_EQ(learning_rate(training, 0), 2);
}

TEST(Ema, RateWarmsUp) {
  EXPECT_DOUBLE_EQ(Ema::rate_at(0.999, 0), 0.1);
  EXPECT_DOUBLE_EQ(Ema::rate_at(0.999, 90), 0.91);
  EXPECT_DOUBLE_EQ(Ema::rate_at(0.999, 1000000), 0.999);
  EXPECT_DOUBLE_EQ(Ema::rate_at(0, 5), 0);
}

}  // namespace
}  // namespace couplet
