// The classifier that tells the noise of a coupling table from N(0, I).
#pragma once

#include "pipeline/run/stage_context.h"

namespace couplet {

/// Trains it on the table's training rows and fresh noise of the same labels. A twentieth of the table's blocks is held
/// back; published are the averaged weights that tell these rows best.
void noise_classifier(StageContext& context);

}  // namespace couplet
