#include "pipeline/optimizer/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace couplet {

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
