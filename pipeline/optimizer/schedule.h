// How long a training section trains, and at which learning rate.
#pragma once

#include "pipeline/config/config.h"

#include <cstdint>

namespace couplet {

/// Steps of a training section: images / batch, rounded up.
std::int64_t training_steps(const TrainingConfig& training);
/// The learning rate at a step: linear warm-up to `learning_rate`, then cosine to `final_learning_rate` at the last
/// step.
double learning_rate(const TrainingConfig& training, std::int64_t step);

}  // namespace couplet
