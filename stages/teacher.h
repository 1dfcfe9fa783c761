// The normalizing-flow teacher.
#pragma once

#include "pipeline/run/stage_context.h"

namespace couplet {

/// Trains a TarFlow by maximum likelihood on noised images (TarFlow, arXiv 2412.06329; method of NFM, arXiv 2603.09014)
/// and publishes weights.safetensors, ema.safetensors and summary.json with the likelihood of the test images.
void teacher(StageContext& context);

}  // namespace couplet
