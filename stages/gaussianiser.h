// The second flow: a TarFlow on the noise of a coupling table.
#pragma once

#include "pipeline/run/stage_context.h"

namespace couplet {

/// Trains a TarFlow by maximum likelihood on the noise z of the node's table, each row with its label and without noise
/// of its own. It begins as the identity. A twentieth of the table's blocks is held back; published are the averaged
/// weights that these rows have the highest likelihood under (weights.safetensors), or those of the identity where no
/// others are better, and summary.json.
void gaussianiser(StageContext& context);

}  // namespace couplet
