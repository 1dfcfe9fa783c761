#include "pipeline/training/training_record.h"

#include "pipeline/training/memory_plan.h"
#include "storage/files/atomic_file.h"
#include "storage/formats/event_record.h"
#include "tests/pipeline/training/training_files.h"

#include <ATen/Parallel.h>

#include <regex>

// What a user reads before the first step and while steps go by.

namespace couplet {
namespace {

/// What `call` prints.
std::string printed(const std::function<void()>& call) {
  testing::internal::CaptureStdout();
  call();
  return testing::internal::GetCapturedStdout();
}

void expect_match(const std::string& text, const std::string& pattern) {
  EXPECT_TRUE(std::regex_match(text, std::regex(pattern))) << text << "does not match\n" << pattern;
}

nlohmann::json line(std::int64_t step, double data_stall, double communication_stall) {
  return {{"step", step},
          {"loss", 0.5},
          {"images", 10 * step},
          {"seconds", 0.5},
          {"digest", "abc"},
          {"data_stall", data_stall},
          {"communication_stall", communication_stall}};
}

const TrainingFlops flops{.per_image = 2e6, .matmul_peak = 1e9};

TEST(Plan, IsPrintedBeforeTheFirstStep) {
  TrainingTask task;
  task.training.precision = "bfloat16";
  const TrainingPlan plan{.steps = 100, .batch = 32, .rows = 32};
  const MemoryPlan memory{
      .weights = 4 << 20, .state = 16 << 20, .fixed = 1 << 20, .row = 2 << 20, .available = std::int64_t{20} << 30};
  const auto say = [&](const TrainingFlops& cost) {
    return printed([&] { say_plan(task, plan, 16, 1640000, cost, memory, ranks()); });
  };
  EXPECT_EQ(say(flops),
            fmt::format("plan: 1.64 M parameters; 100 steps of 32 images (32 on each of 1 rank, 16 at once), "
                        "3200 images in all; bfloat16, {} thread{} a rank\n"
                        "plan: 2.00 MFLOP an image (forward and backward), 6.40 GFLOP in all; matrix products "
                        "reach 1.00 GFLOP/s\n"
                        "plan: memory a rank: weights, gradients, optimizer, EMA 20 MiB; activations 2.0 MiB "
                        "an image, 33 MiB for 16; 20 GiB available\n",
                        at::get_num_threads(), at::get_num_threads() == 1 ? "" : "s"));
  EXPECT_EQ(say({}).find("FLOP"), std::string::npos);
}

TEST(Progress, TellsSpeedAndWhatItWaitedFor) {
  const SharedDirectory directory;
  const auto path = directory / "run";
  TrainingRecord record(path, false, 0, {.steps = 10, .batch = 10}, flops, 0, ranks());
  const std::string number = "[0-9.]+", speed = number + " images/s, " + number + " [kMGTPE]?FLOP/s \\(" + number +
                                                " % of the matmul peak\\), ";
  expect_match(printed([&] { record.step(line(0, 0, 0), {}); }),
               "step 1/10, loss 0.5000, " + speed + "[^,]+ remaining\n");
  expect_match(
      printed([&] { record.step(line(1, 0.125, 0.25), {}); }),
      "step 2/10, loss 0.5000, " + speed + "[^,]+ remaining, 25 % waiting for data, 50 % waiting for other ranks\n");
  const Observation seen{.figures = {{"test_loss", 0.25}, {"observation_pause", 1.5}}, .picture = {}};
  expect_match(printed([&] { record.step(line(2, 0.005, 0), seen); }),
               "step 3: test_loss 0.2500\nstep 3/10, loss 0.5000, " + speed + "[^,]+ remaining\n");
  const auto lines = json_lines(path / "metrics.jsonl");
  ASSERT_EQ(lines.size(), 3U);
  for (const auto& written : lines) EXPECT_EQ(written.at("flops"), 10 * 2e6 / 0.5);
}

TEST(Curves, TakeEveryNthStepAndAllFigures) {
  const SharedDirectory directory;
  const auto path = directory / "run";
  {
    TrainingRecord record(path, false, 0, {.steps = 4001, .batch = 1}, {}, 3600, ranks());
    testing::internal::CaptureStdout();
    for (std::int64_t step = 0; step < 12; ++step)
      record.step(line(step, 0, 0),
                  step == 7 ? Observation{.figures = {{"test_loss", 1}}, .picture = {}} : Observation{});
    testing::internal::GetCapturedStdout();
  }
  std::vector<std::int64_t> steps;
  for (const auto& entry : std::filesystem::directory_iterator(path / "tensorboard")) {
    const std::string bytes = read_file(entry.path());
    for (std::size_t at = 0; at < bytes.size();) {
      const auto record = read_event_record(std::string_view(bytes).substr(at));
      ASSERT_TRUE(record);
      steps.push_back(record->step);
      at += record->bytes;
    }
  }
  EXPECT_EQ(steps, (std::vector<std::int64_t>{0, 0, 0, 3, 6, 7, 9}));  // two of them the header's
}

}  // namespace
}  // namespace couplet
