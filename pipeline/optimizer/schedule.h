// How long a model is trained, and at which learning rates.
#pragma once

#include "pipeline/config/config.h"

#include <cstdint>

namespace couplet {

/// The steps of a training section: images / batch, rounded up.
std::int64_t training_steps(const TrainingConfig& training);
/// The learning rate at a step: it warms up linearly to `learning_rate`, then follows a cosine to `final_learning_rate`
/// at the last step.
double learning_rate(const TrainingConfig& training, std::int64_t step);

}  // namespace couplet
