// From the data set's own files to data-set shards.
#pragma once

#include "pipeline/run/stage_context.h"

namespace couplet {

/// Reads the configured source files and publishes RUN/prepare/train and RUN/prepare/test: row tables of format
/// "couplet-dataset" with columns image (uint8 [C, H, W]) and label (int32). Ranks take shards; whole shards are kept
/// on a rerun. Truncated or mismatched files are errors that name them.
void prepare(StageContext& context);

}  // namespace couplet
