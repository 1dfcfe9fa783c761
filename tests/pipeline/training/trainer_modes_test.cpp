#include "pipeline/optimizer/schedule.h"
#include "pipeline/training/trainer.h"

#include "tests/pipeline/training/regression_reference.h"
#include "tests/pipeline/training/regression_task.h"
#include "tests/pipeline/training/training_files.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <string>
#include <vector>

// Every way of computing a step, on any number of ranks, against formulas in double precision.

namespace couplet {
namespace {

constexpr std::int64_t steps = 8, batch = 96;

struct Mode {
  std::string name;
  void (*set)(TrainingConfig&, PipelineConfig&);
  bool reproducible = false;
};

const std::vector<Mode> modes = {
    {"Plain", [](TrainingConfig&, PipelineConfig&) {}},
    {"Threads", [](TrainingConfig&, PipelineConfig&) { at::set_num_threads(3); }},
    {"ThreadsMicroBatches",
     [](TrainingConfig& training, PipelineConfig&) {
       at::set_num_threads(3);
       training.micro_batch = 7;
     }},
    {"NoOverlap", [](TrainingConfig&, PipelineConfig& pipeline) { pipeline.overlap = false; }},
    {"OneBucketAGroup", [](TrainingConfig&, PipelineConfig& pipeline) { pipeline.bucket_size = 1; }},
    {"MicroBatches", [](TrainingConfig& training, PipelineConfig&) { training.micro_batch = 7; }},
    {"Sharded", [](TrainingConfig&, PipelineConfig& pipeline) { pipeline.shard_optimizer = true; }},
    {"ShardedMicroBatches",
     [](TrainingConfig& training, PipelineConfig& pipeline) {
       training.micro_batch = 10;
       pipeline.shard_optimizer = true;
     }},
    {"Reproducible", [](TrainingConfig&, PipelineConfig& pipeline) { pipeline.reproducible = true; }, true},
    {"ReproducibleShardedMicroBatches",
     [](TrainingConfig& training, PipelineConfig& pipeline) {
       training.micro_batch = 5;
       pipeline.reproducible = pipeline.shard_optimizer = true;
     },
     true}};

class TrainerModes : public testing::TestWithParam<Mode> {
protected:
  void SetUp() override {
    if (GetParam().reproducible && 4 % ranks().size() != 0) GTEST_SKIP() << "4 slices do not divide by the ranks";
  }

  void TearDown() override { at::set_num_threads(1); }

  TrainingTask task(const std::string& name, Regression& model) {
    TrainingTask made = regression_task(directory / name, model, steps, batch);
    made.training.ema = {0.9, 0.5};
    GetParam().set(made.training, pipeline);
    return made;
  }
  TrainingResult run(TrainingTask& of, Regression& model) { return train(of, model, pipeline, ranks(), test_device()); }

  SharedDirectory directory;
  PipelineConfig pipeline = [] {
    PipelineConfig made = regression_pipeline(3);
    made.slices = 4;
    return made;
  }();
};

TEST_P(TrainerModes, FollowsTheFormulas) {
  Regression model(1);
  TrainingTask task = this->task("run", model);
  std::atomic<std::int64_t> rows = 0;  // several threads call it
  task.loss = [&, loss = task.loss](const Batch& part) {
    rows += part[0].size(0);
    return loss(part);
  };
  const RegressionReference expected(task.training, steps);
  const TrainingResult result = run(task, model);
  const auto expect_close = [](const at::Tensor& found, const at::Tensor& value) {
    EXPECT_TRUE(at::allclose(found.to(at::kDouble), value, 1e-4, 1e-5)) << found << value;
  };
  expect_close(result.weights.at("weight"), expected.weight.value);
  expect_close(result.weights.at("bias"), expected.bias.value);
  ASSERT_EQ(result.emas.size(), 2U);
  EXPECT_EQ(result.emas[0].file, "ema.safetensors");
  EXPECT_EQ(result.emas[1].file, "ema-0.5.safetensors");
  for (std::size_t i = 0; i < 2; ++i) {
    expect_close(result.emas[i].tensors.at("weight"), expected.weight.emas[i]);
    expect_close(result.emas[i].tensors.at("bias"), expected.bias.emas[i]);
    EXPECT_EQ(result.emas[i].tensors.at("updates").item<float>(), steps);
  }
  expect_bit_equal(result.ema, result.emas[0].tensors);
  EXPECT_EQ(result.weights.at("updates").item<float>(), steps);
  // No gradient, one dimension: neither moved nor decayed.
  EXPECT_TRUE(result.weights.at("unused").equal(Regression(1).unused));
  constexpr std::int64_t measured = 1 + 1 + 2;  // for the memory plan, before the first step
  EXPECT_EQ(rows, measured + steps * batch / ranks().size())
      << "rows of other ranks were computed, or not all of its own";

  const auto lines = json_lines(task.directory / "metrics.jsonl");
  ASSERT_EQ(lines.size(), static_cast<std::size_t>(steps));
  EXPECT_TRUE(std::any_of(expected.norms.begin(), expected.norms.end(),
                          [&](double norm) { return norm > task.training.clip; }));
  for (std::size_t step = 0; step < lines.size(); ++step) {
    EXPECT_EQ(lines[step].at("step"), step);
    EXPECT_NEAR(lines[step].at("loss"), expected.losses[step], 1e-5);
    EXPECT_NEAR(lines[step].at("grad_norm"), expected.norms[step], 1e-5);
    EXPECT_EQ(lines[step].at("lr"), learning_rate(task.training, static_cast<std::int64_t>(step)));
    EXPECT_EQ(lines[step].at("images"), (step + 1) * batch);
    EXPECT_EQ(lines[step].at("rows"), batch / ranks().size());
    EXPECT_EQ(lines[step].at("skipped"), 0);
    EXPECT_GE(lines[step].at("seconds"), lines[step].at("data_stall"));
    EXPECT_EQ(lines[step].at("communication") > 0, ranks().size() > 1);
    EXPECT_EQ(lines[step].at("communication_stall") > 0, ranks().size() > 1);
  }
}

TEST_P(TrainerModes, GoesOnBitEqualAfterACrash) {
  Regression whole_model(1), crashing(1), resumed(1);
  TrainingTask whole = task("whole", whole_model);
  const TrainingResult expected = run(whole, whole_model);
  TrainingTask crashes = task("broken", crashing);
  std::int64_t left = 5;
  crashes.after_step = [&](const Batch&) {
    crashing.updates.add_(1);
    if (left-- == 0) throw std::runtime_error("crash");
  };
  EXPECT_EQ(error_of([&] { run(crashes, crashing); }), "crash");
  TrainingTask goes_on = task("broken", resumed);
  const TrainingResult result = run(goes_on, resumed);
  expect_same_result(result, expected);
  expect_bit_equal(result.emas[1].tensors, expected.emas[1].tensors);
  EXPECT_EQ(metrics_of(goes_on.directory), metrics_of(whole.directory));
  EXPECT_EQ(json_lines(goes_on.directory / "events.jsonl").at(1).at("step"), 3);
}

INSTANTIATE_TEST_SUITE_P(All, TrainerModes, testing::ValuesIn(modes), [](const auto& mode) { return mode.param.name; });

/// Trained with other keys, otherwise the same.
TrainingResult run_with(const std::filesystem::path& path, void (*set)(TrainingConfig&, PipelineConfig&)) {
  Regression model(1);
  TrainingTask task = regression_task(path, model, steps, batch);
  PipelineConfig pipeline = regression_pipeline(100);
  pipeline.slices = 4;
  set(task.training, pipeline);
  return train(task, model, pipeline, ranks(), test_device());
}

TEST(TrainerModes, OverlapChangesNothing) {
  const SharedDirectory directory;
  const auto with = run_with(directory / "with", [](TrainingConfig&, PipelineConfig&) {});
  const auto without =
      run_with(directory / "without", [](TrainingConfig&, PipelineConfig& pipeline) { pipeline.overlap = false; });
  if (ranks().size() <= 2) {
    expect_same_result(with, without);
  } else {
    for (const auto& [name, tensor] : with.weights)
      EXPECT_TRUE(at::allclose(tensor, without.weights.at(name), 1e-5, 1e-6)) << name;
  }
}

TEST(TrainerModes, ShardingChangesNoBitWhereReproducible) {
  if (4 % ranks().size() != 0) GTEST_SKIP() << "4 slices do not divide by the ranks";
  const SharedDirectory directory;
  const auto whole =
      run_with(directory / "whole", [](TrainingConfig&, PipelineConfig& pipeline) { pipeline.reproducible = true; });
  const auto sharded = run_with(directory / "sharded", [](TrainingConfig&, PipelineConfig& pipeline) {
    pipeline.reproducible = pipeline.shard_optimizer = true;
  });
  expect_same_result(sharded, whole);
}

TEST(TrainerModes, GradientsOfMicroBatchesAreThoseOfTheBatchInDouble) {
  const SharedDirectory directory;
  Regression model(1);
  model.to(at::kDouble);
  TrainingTask task = regression_task(directory / "run", model, steps, batch);
  task.training.micro_batch = 7;
  task.training.clip = 1e6;  // the divisor that clips is a float32
  std::int64_t largest = 0;
  task.loss = [&](const Batch& rows) {
    largest = std::max(largest, rows[0].size(0));
    return at::mse_loss(model.forward(rows[0].to(at::kDouble)), rows[1].to(at::kDouble));
  };
  const RegressionReference expected(task.training, steps);
  const TrainingResult result = train(task, model, regression_pipeline(100), ranks(), test_device());
  EXPECT_EQ(largest, 7);
  EXPECT_TRUE(at::allclose(result.weights.at("weight"), expected.weight.value, 1e-11, 1e-12));
  EXPECT_TRUE(at::allclose(result.weights.at("bias"), expected.bias.value, 1e-11, 1e-12));
  EXPECT_NEAR(result.last.at("grad_norm"), expected.norms.back(), 1e-11);
}

TEST(TrainerModes, AParameterThatOneRankAloneReachesIsTrainedOnAll) {
  const SharedDirectory directory;
  Regression model(1);
  TrainingTask task = regression_task(directory / "run", model, 1, batch);
  task.training.clip = 0;
  const int rank = ranks().size() - 1;
  task.loss = [&](const Batch& rows) {
    const at::Tensor y = at::mse_loss(at::linear(rows[0], model.weight), rows[1]);
    return ranks().rank() == rank ? y + (model.unused * 3).sum() : y;
  };
  const TrainingResult result = train(task, model, regression_pipeline(100), ranks(), test_device());
  // Adam's first step is the learning rate against the gradient's sign.
  const double rate = learning_rate(task.training, 0);
  EXPECT_TRUE(at::allclose(result.weights.at("unused"), Regression(1).unused - rate, 1e-5, 1e-5));
  EXPECT_TRUE(result.weights.at("bias").equal(Regression(1).bias)) << "no rank reaches it";
  EXPECT_FALSE(result.weights.at("weight").equal(Regression(1).weight));
}

TEST(TrainerModes, ARankThatFailsInItsComputationEndsAllRanks) {
  const SharedDirectory directory;
  for (const bool sharded : {false, true}) {
    Regression model(1);
    TrainingTask task = regression_task(directory / (sharded ? "sharded" : "whole"), model, steps, batch);
    task.training.micro_batch = 7;
    const int bad_rank = ranks().size() - 1;
    std::int64_t calls = 0;
    task.loss = [&](const Batch& rows) {
      if (++calls == 20 && ranks().rank() == bad_rank) throw std::runtime_error("no memory left");
      return at::mse_loss(model.forward(rows[0]), rows[1]);
    };
    PipelineConfig pipeline = regression_pipeline(100);
    pipeline.shard_optimizer = sharded;
    const std::string message = error_of([&] { train(task, model, pipeline, ranks(), test_device()); });
    if (ranks().rank() == bad_rank) {
      EXPECT_EQ(message, "no memory left");
    } else {
      expect_contains(message, "rank " + std::to_string(bad_rank) + " failed in step");
    }
  }
}

TEST(TrainerModes, TheMeanOverTheBatchIsTheTasks) {
  if (4 % ranks().size() != 0) GTEST_SKIP() << "4 slices do not divide by the ranks";
  for (const bool reproducible : {false, true}) {
    const SharedDirectory directory;
    Regression model(1);
    TrainingTask task = regression_task(directory / "run", model, 1, batch);
    task.training.micro_batch = 5;
    at::Tensor seen, found;
    task.loss = [&](const Batch& rows) {
      seen = rows[0].square().mean(0);
      return at::mse_loss(model.forward(rows[0]), rows[1]);
    };
    task.batch_mean = BatchMean{[&] { return seen; }, [&](const at::Tensor& mean) { found = mean; }};
    PipelineConfig pipeline = regression_pipeline(100);
    pipeline.reproducible = reproducible;
    pipeline.slices = 4;
    train(task, model, pipeline, ranks(), test_device());
    const at::Tensor expected = regression_rows(0, batch)[0].to(at::kDouble).square().mean(0);
    EXPECT_TRUE(at::allclose(found.cpu(), expected, 1e-6, 1e-7));
  }
}

TEST(TrainerModes, RanksThatCannotShareTheSlicesAreRefused) {
  const SharedDirectory directory;
  Regression model(1);
  TrainingTask task = regression_task(directory / "run", model, steps, batch);
  PipelineConfig pipeline = regression_pipeline(100);
  pipeline.reproducible = true;
  const auto message = [&](std::int64_t slices) {
    pipeline.slices = slices;
    return error_of([&] { train(task, model, pipeline, ranks(), test_device()); });
  };
  EXPECT_EQ(message(6), "pipeline.slices = 6 is no power of two; the nearest are 4 and 8");
  if (ranks().size() == 3) {
    expect_contains(message(8),
                    "3 ranks cannot share 8 gradient groups equally; the numbers of ranks that can: 1, 2, 4, 8");
  } else {
    EXPECT_EQ(
        message(64),
        "teacher.batch = 96 does not divide into pipeline.slices = 64 gradient groups; the nearest valid: 64, 128");
  }
}

}  // namespace
}  // namespace couplet
