// The images as latents, where models see these.
#pragma once

#include "pipeline/run/stage_context.h"

namespace couplet {

/// Publishes RUN/latents/train and RUN/latents/test: of each prepared image, and of its mirror image behind it where
/// latents.flips says so, what the program of [latents] makes of it, mean and deviation, in float16; and the program,
/// RUN/latents/codec.pt. Held-out images are not mirrored. Shard by shard: equal bytes for any number of ranks and
/// interruptions. Collective.
void latents(StageContext& context);

}  // namespace couplet
