// The feature network that scores samples where no Inception network is given.
#pragma once

#include "pipeline/run/stage_context.h"

namespace couplet {

/// Trains the classifier on the training images, publishes its weights, its accuracy on the test images (summary.json),
/// and the moments of its features over the training images (statistics.safetensors).
void features(StageContext& context);

}  // namespace couplet
