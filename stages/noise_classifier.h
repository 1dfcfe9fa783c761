// The classifier that tells the noise of a coupling table from N(0, I).
#pragma once

#include "pipeline/run/stage_context.h"

namespace couplet {

/// Trains it on the table's training rows and fresh noise of the same labels, and publishes its averaged weights.
void noise_classifier(StageContext& context);

}  // namespace couplet
