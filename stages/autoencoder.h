// The run's own codec, where no other is given: an autoencoder of its images.
#pragma once

#include "pipeline/run/stage_context.h"

namespace couplet {

/// Trains an autoencoder on the pixels of the training images and of their mirror images. Publishes codec.pt, the
/// program that encodes and decodes by the averaged weights (docs/latents.md), these in weights.safetensors, and
/// summary.json with the error of held-out images that come back.
void autoencoder(StageContext& context);

}  // namespace couplet
