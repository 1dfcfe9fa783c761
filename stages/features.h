// The classifiers that a run trains: the feature network that scores samples where no other is given, and the one whose
// features a student's loss compares.
#pragma once

#include "pipeline/run/stage_context.h"

namespace couplet {

/// Trains the classifier on the training images, publishes its weights, its accuracy on the test images (summary.json),
/// and the moments of its features over the training images (statistics.safetensors).
void features(StageContext& context);

/// Trains another one, of a seed and an architecture of its own (stages/trained/loss_network.h), by the same settings,
/// for students whose loss compares features (student.feature-weight): what they are trained by is not what scores
/// them. Publishes its weights and its accuracy on the test images (summary.json).
void loss_features(StageContext& context);

}  // namespace couplet
