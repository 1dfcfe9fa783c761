// How the model that a stage trains lies in memory and in messages, found by building it without memory.
#pragma once

#include "stages/cost/stage_cost.h"

#include <cstdint>
#include <vector>

namespace couplet {

struct ModelLayout {
  std::int64_t tensors = 0;          ///< parameters, and fixed ones
  double bytes = 0;                  ///< of all of them
  double trained_bytes = 0;          ///< of the trained parameters, without what pads their buckets
  std::vector<double> bucket_bytes;  ///< of the buckets of gradients, in the order in which they are reduced
  double reduced_bytes() const;      ///< of all buckets
};

/// Of a node that trains; empty for others. `groups`: gradient groups, by which buckets are padded (BucketSizes).
ModelLayout layout_of(const StageNode& node, const CostModel& model, bool on_gpu, std::int64_t groups);

}  // namespace couplet
