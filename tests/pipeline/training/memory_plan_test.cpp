#include "pipeline/training/memory_plan.h"

#include "pipeline/distributed/measured_memory.h"
#include "pipeline/process/host.h"
#include "pipeline/training/trainer.h"
#include "storage/error.h"
#include "tests/pipeline/limited_memory.h"
#include "tests/pipeline/training/regression_task.h"
#include "tests/pipeline/training/training_files.h"

#include <sys/resource.h>

#include <fstream>
#include <memory>
#include <optional>

// On any number of ranks: what training will take is measured before the first step, and what does not fit is refused.

namespace couplet {
namespace {

constexpr std::int64_t mebibyte = 1 << 20;
constexpr std::int64_t steps = 4;

/// A loss that keeps `bytes` for each row until the backward pass, and needs no more of its own.
at::Tensor costly_loss(const Regression& model, const Batch& rows, std::int64_t bytes) {
  const at::Tensor wide = model.forward(rows[0]).sum(1, true).expand({-1, bytes / 4});
  return (wide * 1e-6).exp().mean();  // exp keeps its result
}

/// No more address space than this beyond what is taken, while it lives.
class AddressSpaceLimit {
public:
  explicit AddressSpaceLimit(std::int64_t bytes) {
    ::getrlimit(RLIMIT_AS, &before_);
    rlimit limit = before_;
    std::ifstream status("/proc/self/status");
    std::int64_t taken = 0;
    for (std::string word; status >> word;) {
      if (word == "VmSize:") status >> taken;
    }
    limit.rlim_cur = static_cast<rlim_t>(taken * 1024 + bytes);
    ::setrlimit(RLIMIT_AS, &limit);
  }
  ~AddressSpaceLimit() { ::setrlimit(RLIMIT_AS, &before_); }
  AddressSpaceLimit(const AddressSpaceLimit&) = delete;
  AddressSpaceLimit& operator=(const AddressSpaceLimit&) = delete;

private:
  rlimit before_{};
};

TrainingTask costly_task(const std::filesystem::path& directory, Regression& model, std::int64_t bytes) {
  TrainingTask task = regression_task(directory, model, steps);
  task.loss = [&model, bytes](const Batch& rows) { return costly_loss(model, rows, bytes); };
  return task;
}

std::unique_ptr<DeviceMemory> host() {
  return measured_memory(at::kCPU, ranks());
}

MemoryPlan planned(const TrainingTask& task, Regression& model, const TrainingSizes& sizes, DeviceMemory& memory) {
  return plan_memory(task, model, plan_training(task, ranks()), sizes, ranks(), at::kCPU, memory);
}

TEST(PeakBytes, AreOfTheHighestPoint) {
  const auto bytes = [](std::int64_t count) { return at::empty({count}, at::kByte); };
  const at::Tensor before = bytes(1000);
  const std::int64_t peak = host()->peak_bytes([&] {
    at::Tensor a = bytes(mebibyte);
    { const at::Tensor b = bytes(3 * mebibyte); }
    const at::Tensor c = bytes(2 * mebibyte);
  });
  EXPECT_EQ(peak, 4 * mebibyte);
}

TEST(MemoryPlan, IsWhatTheModelAndTheRowsTake) {
  const SharedDirectory directory;
  Regression model(1);
  TrainingTask task = costly_task(directory / "run", model, mebibyte);
  const std::string before = tensors_hash(named_tensors(model));
  std::vector<std::int64_t> rows_asked;
  const auto make = task.batch;
  task.batch = [&](const BatchRange& range) {
    rows_asked.push_back(range.rows);
    return make(range);
  };
  const MemoryPlan memory = planned(task, model, {.averages = 2, .micro_rows = 3, .gradient_copies = 3}, *host());
  EXPECT_EQ(rows_asked, std::vector<std::int64_t>{2});
  EXPECT_EQ(memory.weights, 4 * (24 + 4 + 3 + 1));
  EXPECT_EQ(memory.state, 4 * (24 + 4 + 3) * (1 + 3 + 2 + 2));
  EXPECT_EQ(memory.checkpoint, memory.weights + 4 * (24 + 4 + 3) * (2 + 2));
  EXPECT_EQ(memory.result, memory.weights + 4 * (24 + 4 + 3) * 2);
  EXPECT_EQ(memory.host, 0);
  // A row's product, its exponential and the gradients of both.
  EXPECT_NEAR(static_cast<double>(memory.row), 3.0 * mebibyte, 1.1 * mebibyte);
  const at::Tensor x = regression_rows(0, 8)[0];
  const std::int64_t measured = host()->peak_bytes([&] { costly_loss(model, {x}, mebibyte).backward(); });
  EXPECT_NEAR(static_cast<double>(memory.activations(8)), static_cast<double>(measured),
              0.05 * static_cast<double>(measured));
  // Without a trace.
  model.weight.mutable_grad() = at::Tensor();
  model.bias.mutable_grad() = at::Tensor();
  EXPECT_EQ(tensors_hash(named_tensors(model)), before);
}

TEST(MemoryPlan, LeavesNoGradients) {
  const SharedDirectory directory;
  Regression model(1);
  TrainingTask task = costly_task(directory / "run", model, 4096);
  planned(task, model, {.micro_rows = 1}, *host());
  for (const at::Tensor& parameter : model.parameters()) EXPECT_FALSE(parameter.grad().defined());
}

// 10a555e took what a library keeps from its first call on for the first row's, and a row for nothing.
TEST(MemoryPlan, DoesNotCountWhatLibrariesKeepFromTheirFirstCallOn) {
  const SharedDirectory directory;
  Regression model(1);
  TrainingTask task = costly_task(directory / "run", model, mebibyte);
  at::Tensor workspace;
  task.loss = [&](const Batch& rows) {
    if (!workspace.defined()) workspace = at::empty({64 * mebibyte}, at::kByte);
    return costly_loss(model, rows, mebibyte);
  };
  const MemoryPlan memory = planned(task, model, {.micro_rows = 3}, *host());
  EXPECT_NEAR(static_cast<double>(memory.row), 3.0 * mebibyte, 1.1 * mebibyte);
  EXPECT_LT(memory.fixed, 8 * mebibyte);
}

// 10a555e planned no memory of the host for a GPU's run, and none of previews for any.
TEST(MemoryPlan, CountsPreviewsAndTheHostsCopies) {
  const SharedDirectory directory;
  Regression model(1);
  TrainingTask task = regression_task(directory / "run", model, steps);
  task.preview_every = 2;
  std::vector<std::int64_t> rows_made;
  task.sample_rows = {[&](std::int64_t rows) {
                        EXPECT_FALSE(model.is_training());
                        rows_made.push_back(rows);
                        at::empty({10 + rows, mebibyte}, at::kByte);
                      },
                      5};
  const MemoryPlan cpu = planned(task, model, {.averages = 2, .micro_rows = 3}, *host());
  EXPECT_EQ(cpu.samples, 15 * mebibyte) << "five rows at once";
  EXPECT_EQ(cpu.besides_weights(3), cpu.state + cpu.checkpoint + cpu.samples);
  EXPECT_TRUE(model.is_training());
  LimitedMemory gpu(1000 * mebibyte);
  const MemoryPlan there = planned(task, model, {.averages = 2, .micro_rows = 3}, gpu);
  EXPECT_EQ(there.samples, 11 * mebibyte) << "one row at once";
  EXPECT_EQ(there.checkpoint, 0);
  EXPECT_EQ(there.result, 0);
  EXPECT_EQ(there.available, 1000 * mebibyte);
  EXPECT_EQ(there.host, cpu.checkpoint + cpu.result);
  ASSERT_TRUE(there.host_available);
  expect_contains(there.text(3), "; samples 11 MiB; 1000 MiB available; copies for files ");
  task.preview_every = 0;
  EXPECT_EQ(planned(task, model, {.micro_rows = 3}, gpu).samples, 0);
}

TEST(MemoryPlan, APreviewThatDoesNotFitIsRefused) {
  const SharedDirectory directory;
  Regression model(1);
  TrainingTask task = regression_task(directory / "run", model, steps);
  task.preview_every = 2;
  task.sample_rows = {[](std::int64_t rows) { at::empty({rows, 64 * mebibyte}, at::kByte); }, 1};
  task.preview = [] { return Preview{}; };
  task.memory = std::make_shared<LimitedMemory>(100 * mebibyte);
  EXPECT_EQ(error_of([&] { train(task, model, regression_pipeline(0), ranks(), at::kCPU); }), "no error");
  task.memory = std::make_shared<LimitedMemory>(50 * mebibyte);
  Regression other(1);
  expect_contains(error_of([&] { train(task, other, regression_pipeline(0), ranks(), at::kCPU); }),
                  "no samples on the way (teacher.preview-every = 0) and teacher.micro-batch = ");
}

TEST(MemoryPlan, CopiesThatAHostDoesNotHoldAreRefused) {
  MemoryPlan memory{.available = {}, .host = 20 * mebibyte, .host_available = {}};
  EXPECT_TRUE(memory.fits_host());
  memory.host_available = 19 * mebibyte;
  EXPECT_FALSE(memory.fits_host());
  EXPECT_TRUE(memory.fits(1)) << "of the GPU";
  expect_contains(memory.text(1), "; copies for files 20 MiB on a host, 19 MiB available there");
}

TEST(MemoryPlan, KnowsWhichMicroBatchFits) {
  MemoryPlan memory{.state = 70, .checkpoint = 30, .fixed = 10, .row = 20, .available = {}};
  EXPECT_TRUE(memory.fits(1000));
  memory.available = 100 + 10 + 20 * 5;
  EXPECT_TRUE(memory.fits(5));
  EXPECT_FALSE(memory.fits(6));
  EXPECT_EQ(memory.largest_fitting(12, 12), 4);
  EXPECT_EQ(memory.largest_fitting(12, 3), 3);
  memory.available = 110;
  EXPECT_EQ(memory.largest_fitting(12, 12), 0);
}

TEST(MemoryPlan, WhatDoesNotFitIsRefusedBeforeTheFirstStep) {
  const SharedDirectory directory;
  Regression model(1);
  const std::int64_t rows = 12 / ranks().size();
  TrainingTask task = costly_task(directory / "run", model, 32 * mebibyte);
  std::string message;
  {
    const AddressSpaceLimit limit(3 * 32 * mebibyte * 2 + 64 * mebibyte);  // two rows and a bit
    message = error_of([&] { train(task, model, regression_pipeline(0), ranks(), at::kCPU); });
  }
  expect_contains(message, "teacher: a rank needs ");
  expect_contains(message, fmt::format("of activations for {} images at once", rows));
  expect_contains(message, "teacher.micro-batch = 2 fits");
  EXPECT_FALSE(std::filesystem::exists(task.directory / "metrics.jsonl"));
}

TEST(MemoryPlan, AStepThatRunsOutOfMemoryNamesAMicroBatch) {
  const SharedDirectory directory;
  Regression model(1);
  TrainingTask task = regression_task(directory / "run", model, steps);
  const int bad_rank = ranks().size() - 1;
  task.loss = [&](const Batch& rows) {
    const bool bad = rows[2][0].item<std::int64_t>() / 12 == 2 && ranks().rank() == bad_rank;
    const at::Tensor loss = at::mse_loss(model.forward(rows[0]), rows[1]);
    return bad ? loss + at::empty({std::int64_t{1} << 50}, at::kByte).sum() : loss;
  };
  const std::string message = error_of([&] { train(task, model, regression_pipeline(0), ranks(), at::kCPU); });
  if (ranks().rank() != bad_rank) return expect_contains(message, fmt::format("rank {} failed in step 2", bad_rank));
  const std::int64_t rows = 12 / ranks().size();
  expect_contains(message, fmt::format("teacher: memory ran out in step 2 on rank {}, with {} images computed at once: "
                                       "teacher.micro-batch = {} fits",
                                       bad_rank, rows, rows / 2));
}

TEST(MemoryPlan, ARankThatFailsWhileItIsMeasuredEndsAllRanks) {
  const SharedDirectory directory;
  Regression model(1);
  TrainingTask task = regression_task(directory / "run", model, steps);
  const int bad_rank = ranks().size() - 1;
  task.batch = [&](const BatchRange& range) {
    if (ranks().rank() == bad_rank) fail("block 3 of images is damaged");
    return regression_rows(range.first, range.rows);
  };
  const std::string message = error_of([&] { train(task, model, regression_pipeline(0), ranks(), at::kCPU); });
  expect_contains(message, "block 3 of images is damaged");
  if (ranks().rank() != bad_rank) expect_contains(message, fmt::format("rank {} failed", bad_rank));
}

/// A file system with proc/ and sys/ as a test wants them.
class FakeSystem {
public:
  void write(const std::string& path, const std::string& text) const {
    std::filesystem::create_directories((root() / path).parent_path());
    std::ofstream(root() / path) << text;
  }
  std::filesystem::path root() const { return directory_ / fmt::format("system-{}", ranks().rank()); }

private:
  SharedDirectory directory_;
};

TEST(AvailableMemory, IsTheLeastThatSystemAndCgroupsLeave) {
  const FakeSystem system;
  EXPECT_EQ(available_host_memory(system.root()), std::nullopt);
  system.write("proc/meminfo", "MemTotal:  9000 kB\nMemFree: 10 kB\nMemAvailable:    4000 kB\n");
  EXPECT_EQ(available_host_memory(system.root()), 4000 * 1024);
  // Version 2: a job's limit above its step's, which has none; cached files can be given up.
  system.write("proc/self/cgroup", "0::/job/step\n");
  system.write("sys/fs/cgroup/job/step/memory.max", "max\n");
  system.write("sys/fs/cgroup/job/step/memory.current", "500000\n");
  system.write("sys/fs/cgroup/job/memory.max", "2000000\n");
  system.write("sys/fs/cgroup/job/memory.current", "900000\n");
  system.write("sys/fs/cgroup/job/memory.stat", "anon 600000\ninactive_file 300000\n");
  EXPECT_EQ(available_host_memory(system.root()), 1400000);
  // Version 1, seen from within a container: the path is the host's, the mount is the container's own group.
  system.write("proc/self/cgroup", "9:cpu:/x\n4:memory:/docker/abc\n");
  system.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "1000000\n");
  system.write("sys/fs/cgroup/memory/memory.usage_in_bytes", "1200000\n");
  system.write("sys/fs/cgroup/memory/memory.stat", "total_inactive_file 250000\n");
  EXPECT_EQ(available_host_memory(system.root()), 50000);
}

TEST(AvailableMemory, OfThisMachineIsKnown) {
  const auto host = available_host_memory();
  ASSERT_TRUE(host);
  EXPECT_GT(*host, mebibyte);
  const AddressSpaceLimit limit(100 * mebibyte);
  const auto own = available_address_space();
  ASSERT_TRUE(own);
  EXPECT_NEAR(static_cast<double>(*own), 100.0 * mebibyte, 10.0 * mebibyte);
}

}  // namespace
}  // namespace couplet
