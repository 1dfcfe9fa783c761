#include "pipeline/training/observation.h"

#include "pipeline/distributed/slices.h"
#include "pipeline/optimizer/ema.h"
#include "pipeline/tensor/fitting_rows.h"
#include "pipeline/training/trainer.h"
#include "storage/error.h"
#include "tests/pipeline/limited_memory.h"
#include "tests/pipeline/training/regression_task.h"
#include "tests/pipeline/training/training_files.h"

// What is looked at during training, on any number of ranks: with which weights, at which steps, and that training goes
// on as if nobody had looked.

namespace couplet {
namespace {

constexpr std::int64_t steps = 10;

/// Digits of a figure that shows which weights stand in the model.
double weight_sum(const Regression& model) {
  return model.weight.to(at::kDouble).sum().item<double>();
}

TrainingTask watched_task(const std::filesystem::path& directory, Regression& model) {
  TrainingTask task = regression_task(directory, model, steps);
  task.validate_every = 4;
  task.validate = [&] {
    EXPECT_FALSE(model.is_training());
    EXPECT_FALSE(at::GradMode::is_enabled());
    return nlohmann::json{{"test_sum", weight_sum(model)}};
  };
  task.preview_every = 3;
  task.preview = [&] {
    EXPECT_FALSE(model.is_training());
    ranks().barrier();  // it is collective
    Preview preview;
    preview.figures = {{"quick_sum", weight_sum(model)}};
    if (ranks().is_root()) preview.picture = Picture{2, 2, 1, {0, 50, 100, 150}};
    return preview;
  };
  return task;
}

TrainingResult run(TrainingTask& task, Regression& model) {
  return train(task, model, regression_pipeline(5), ranks(), test_device());
}

TEST(WithEma, SwapsAndPutsBackBitForBit) {
  const Regression model(1), other(2);
  const NamedTensors averages = {{"weight", other.weight.detach().clone()}, {"bias", other.bias.detach().clone()}};
  const auto place = model.weight.data_ptr();
  {
    const WithEma averaged(model, averages);
    EXPECT_TRUE(model.weight.equal(other.weight));
    EXPECT_TRUE(model.bias.equal(other.bias));
    EXPECT_TRUE(model.unused.equal(Regression(1).unused));
    EXPECT_EQ(model.weight.data_ptr(), place);
  }
  EXPECT_TRUE(model.weight.equal(Regression(1).weight));
  EXPECT_TRUE(averages.at("weight").equal(other.weight));
  expect_contains(error_of([&] {
                    WithEma(model, {{"weight", at::zeros({2})}});
                  }),
                  "the average of weight is Float of shape [2]");
  expect_contains(error_of([&] { WithEma(model, {{"w", at::zeros({2})}}); }), "belongs to a parameter");
}

TEST(Observation, LeavesNoTraceInTheTraining) {
  const SharedDirectory directory;
  Regression plain_model(1), model(1);
  TrainingTask plain = regression_task(directory / "plain", plain_model, steps),
               watched = watched_task(directory / "watched", model);
  const TrainingResult expected = run(plain, plain_model), result = run(watched, model);
  expect_same_result(result, expected);
  EXPECT_TRUE(model.is_training());
  auto lines = metrics_of(watched.directory);
  for (auto& line : lines) {
    for (const char* name : {"test_sum", "raw_test_sum", "quick_sum"}) line.erase(name);
  }
  EXPECT_EQ(lines, metrics_of(plain.directory));
}

// 10a555e made the map of them after every step.
TEST(Observation, AsksForAveragesWhereSomethingIsDueOnly) {
  const SharedDirectory directory;
  Regression model(1);
  const TrainingTask task = watched_task(directory / "run", model);
  LimitedMemory memory(std::int64_t{1} << 40);
  int asked = 0;
  const auto averages = [&] {
    ++asked;
    return NamedTensors{{"weight", model.weight.detach().clone()}, {"bias", model.bias.detach().clone()}};
  };
  for (const std::int64_t done : {1, 2, 5, 7}) observe(task, model, averages, done, steps, memory, ranks());
  EXPECT_EQ(asked, 0);
  observe(task, model, averages, 4, steps, memory, ranks());
  EXPECT_EQ(asked, 1);
}

TEST(Observation, GivesFiguresOfBothWeightsAtItsSteps) {
  const SharedDirectory directory;
  Regression model(1);
  TrainingTask task = watched_task(directory / "run", model);
  const TrainingResult result = run(task, model);
  const auto lines = json_lines(task.directory / "metrics.jsonl");
  ASSERT_EQ(lines.size(), static_cast<std::size_t>(steps));
  for (const auto& line : lines) {
    const auto done = line.at("step").get<std::int64_t>() + 1;
    const bool validated = done % 4 == 0 || done == steps, previewed = done % 3 == 0;
    EXPECT_EQ(line.contains("test_sum"), validated) << line;
    EXPECT_EQ(line.contains("raw_test_sum"), validated) << line;
    EXPECT_EQ(line.contains("quick_sum"), previewed) << line;
    EXPECT_EQ(line.contains("observation_pause"), validated || previewed) << line;
  }
  EXPECT_EQ(lines.back().at("raw_test_sum"), result.weights.at("weight").to(at::kDouble).sum().item<double>());
  EXPECT_EQ(lines.back().at("test_sum"), result.ema.at("weight").to(at::kDouble).sum().item<double>());
  EXPECT_NE(lines.back().at("test_sum"), lines.back().at("raw_test_sum"));
  for (const int done : {3, 6, 9}) {
    const auto path = task.directory / "previews" / fmt::format("step-{:08}.png", done);
    EXPECT_EQ(read_png(path).pixels, (std::vector<std::uint8_t>{0, 50, 100, 150})) << path;
  }
}

/// Rows that are computed at once in a preview of 6 rows, of `bytes` each.
std::vector<std::int64_t> rows_at_once(const TrainingTask& like, Regression& model, std::int64_t limit,
                                       std::int64_t bytes) {
  TrainingTask task = like;
  std::vector<std::int64_t> counts;
  task.memory = std::make_shared<LimitedMemory>(limit);
  task.validate = nullptr;
  task.preview_every = steps;
  task.preview = [&] {
    for_each_slice(
        ranks(), {.rows = 6 * ranks().size(), .slice_rows = 6, .columns = 1, .stopped = ""},
        [&](std::int64_t) {
          return fitting_rows(6, [&](std::int64_t, std::int64_t count) {
            counts.push_back(count);
            if (count * bytes > limit) run_out_of_memory();
            at::empty({count, bytes}, at::kByte);
            return at::zeros({count, 1});
          });
        },
        [](const at::Tensor&) {});
    return Preview{};
  };
  run(task, model);
  return counts;
}

TEST(Observation, TakesAsManyRowsAtOnceAsFitIntoAGpu) {
  const SharedDirectory directory;
  Regression roomy(1), narrow(1), set(1);
  constexpr std::int64_t mebibyte = 1 << 20;
  using Counts = std::vector<std::int64_t>;
  const TrainingTask all = regression_task(directory / "all", roomy, steps),
                     few = regression_task(directory / "few", narrow, steps);
  EXPECT_EQ(rows_at_once(all, roomy, 100 * mebibyte, mebibyte), (Counts{1, 1, 2, 6}));
  EXPECT_EQ(rows_at_once(few, narrow, 5 * mebibyte, mebibyte), (Counts{1, 1, 2, 4, 2}));
  TrainingTask three = regression_task(directory / "set", set, steps);
  three.rows_at_once = 3;
  EXPECT_EQ(rows_at_once(three, set, 5 * mebibyte, mebibyte), (Counts{3, 3}));
}

// On 10a555e training died in its first preview, with LibTorch's words alone, and again after every resume.
TEST(Observation, MemoryThatRunsOutCostsNoStep) {
  const SharedDirectory directory;
  Regression plain_model(1), model(1);
  TrainingTask plain = regression_task(directory / "plain", plain_model, steps);
  TrainingTask task = watched_task(directory / "run", model);
  task.memory = std::make_shared<LimitedMemory>(std::int64_t{1} << 30);
  const int bad = ranks().size() - 1;
  task.preview = [&] {
    for_each_slice(
        ranks(), {.rows = 4 * ranks().size(), .slice_rows = 4, .columns = 1, .stopped = ""},
        [&](std::int64_t) {
          return fitting_rows(4, [&](std::int64_t, std::int64_t count) {
            if (ranks().rank() == bad) run_out_of_memory();
            return at::zeros({count, 1});
          });
        },
        [](const at::Tensor&) {});
    return Preview{};
  };
  ::testing::internal::CaptureStderr();
  const TrainingResult result = run(task, model);
  const std::string warnings = ::testing::internal::GetCapturedStderr();
  expect_same_result(result, run(plain, plain_model));
  EXPECT_TRUE(json_lines(task.directory / "metrics.jsonl").back().contains("test_sum")) << "validation is there";
  if (!ranks().is_root()) return;
  expect_contains(warnings,
                  fmt::format("teacher: step 3 goes without samples: rank {}: memory ran out with 1 of 4 rows "
                              "computed at once: not even one fits",
                              bad));
  expect_contains(warnings, "training goes on");
}

TEST(Observation, PreviewsOfStepsThatAreDoneAgainAreRemoved) {
  const SharedDirectory directory;
  Regression model(1);
  TrainingTask task = watched_task(directory / "run", model);
  std::int64_t left = 9;
  task.after_step = [&](const Batch&) {
    model.updates.add_(1);
    if (left-- == 0) fail("crash");
  };
  EXPECT_EQ(error_of([&] { run(task, model); }), "crash");  // after the preview of step 9; the checkpoint is of step 5
  Regression again(1);
  TrainingTask rest = watched_task(task.directory, again);
  rest.preview_every = 0;
  run(rest, again);
  EXPECT_TRUE(std::filesystem::exists(task.directory / "previews" / "step-00000003.png"));
  EXPECT_FALSE(std::filesystem::exists(task.directory / "previews" / "step-00000006.png"));
  EXPECT_FALSE(std::filesystem::exists(task.directory / "previews" / "step-00000009.png"));
}

}  // namespace
}  // namespace couplet
