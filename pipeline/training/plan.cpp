#include "pipeline/training/plan.h"

#include "pipeline/optimizer/schedule.h"
#include "storage/error.h"

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

}  // namespace couplet
