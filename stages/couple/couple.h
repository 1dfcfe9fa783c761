// The coupling table: every training image carried to its noise by the teacher.
#pragma once

#include "pipeline/stage.h"

namespace couplet {

/// One pass of the teacher's EMA weights over all rows (sample, mirror image, draw of ε'): f(x + η ε', label), stored
/// raw. Publishes RUN/coupling (training images) and RUN/coupling-test (test images, held out). Rows are computed in
/// fixed slices aligned to their shard's start, the last one padded, so shards are byte-equal for any number of ranks
/// and interruptions. σ_f is finished from the shards' sums and stands in the manifest's summary.
void couple(StageContext& context);

}  // namespace couplet
