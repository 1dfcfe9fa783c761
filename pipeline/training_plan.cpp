#include "pipeline/training_plan.h"

#include "pipeline/log.h"
#include "pipeline/memory_plan.h"
#include "storage/error.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace couplet {
namespace {

/// "1, 2, 4, …": the first few divisors.
std::string divisors_text(std::int64_t number) {
  constexpr int shown = 8;
  std::string text;
  int count = 0;
  for (std::int64_t divisor = 1; divisor <= number; ++divisor) {
    if (number % divisor != 0) continue;
    if (count++ == shown) return text + ", ...";
    text += fmt::format("{}{}", text.empty() ? "" : ", ", divisor);
  }
  return text;
}

}  // namespace

std::string section_of(const TrainingTask& task) {
  return task.name.substr(0, task.name.find('/'));
}

TrainingPlan plan_training(const TrainingTask& task, const Communicator& communicator) {
  const std::string section = section_of(task);
  const std::int64_t batch = task.training.batch, ranks = communicator.size();
  if (batch < 1) refuse("{}.batch = {}: a batch has at least one row", section, batch);
  if (batch % ranks != 0) {
    const std::int64_t below = batch / ranks * ranks, above = below + ranks;
    refuse("{}.batch = {} does not divide by {} ranks; with {} ranks {}; {} divides by {} ranks", section, batch, ranks,
           ranks, below > 0 ? fmt::format("these do: {}, {}", below, above) : fmt::format("this does: {}", above),
           batch, divisors_text(batch));
  }
  if (task.training.precision != "float32" && task.training.precision != "bfloat16") {
    refuse("{}.precision = '{}' is neither float32 nor bfloat16", section, task.training.precision);
  }
  return {training_steps(task.training), batch, batch / ranks, communicator.rank()};
}

void say_plan(const TrainingTask& task, const TrainingPlan& plan, std::int64_t micro_rows, std::int64_t parameters,
              const TrainingFlops& flops, const MemoryPlan& memory, const Communicator& communicator) {
  if (!communicator.is_root()) return;
  const auto plural = [](std::int64_t count, const char* noun) {
    return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
  };
  say("plan: {:.2f} M parameters; {} of {} images ({} on each of {}, {} at once), {} images in all; {}, {} a rank",
      static_cast<double>(parameters) / 1e6, plural(plan.steps, "step"), plan.batch, plan.rows,
      plural(communicator.size(), "rank"), micro_rows, plan.steps * plan.batch, task.training.precision,
      plural(at::get_num_threads(), "thread"));
  if (flops.per_image > 0) {
    say("plan: {} an image (forward and backward), {} in all; matrix products reach {}/s", flops_text(flops.per_image),
        flops_text(flops.per_image * static_cast<double>(plan.steps * plan.batch)), flops_text(flops.matmul_peak));
  }
  say("plan: memory a rank: {}", memory.text(micro_rows));
}

std::int64_t training_steps(const TrainingConfig& training) {
  return training.batch < 1 ? 0 : (training.images + training.batch - 1) / training.batch;
}

double learning_rate(const TrainingConfig& training, std::int64_t step) {
  if (step < training.warmup)
    return training.learning_rate * static_cast<double>(step + 1) / static_cast<double>(training.warmup);
  const std::int64_t last = training_steps(training) - 1;
  const double through = last > training.warmup
                             ? static_cast<double>(step - training.warmup) / static_cast<double>(last - training.warmup)
                             : 1;
  const double cosine = (1 + std::cos(std::numbers::pi * std::clamp(through, 0.0, 1.0))) / 2;
  return training.final_learning_rate + (training.learning_rate - training.final_learning_rate) * cosine;
}

}  // namespace couplet
