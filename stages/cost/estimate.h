// What a run will cost, before it is submitted: floating-point operations of every stage, and disk.
#pragma once

#include "pipeline/config/config.h"
#include "pipeline/run/stage_graph.h"
#include "stages/cost/dataset_size.h"

#include <cstdint>
#include <string>
#include <vector>

namespace couplet {

/// Floating-point operations, by the precision that they run in.
struct Flops {
  double bfloat16 = 0, float32 = 0;
  double all() const { return bfloat16 + float32; }
};

struct StageEstimate {
  std::string stage, kind;
  std::string work;  ///< "11875 steps of 32", "60000 rows"
  Flops flops;
};

/// Bytes.
struct DiskEstimate {
  double dataset = 0;
  double coupling = 0;     ///< both tables
  double checkpoints = 0;  ///< of all stages that train, until `couplet clean` removes them
  double weights = 0;      ///< that the stages publish
  double all() const { return dataset + coupling + checkpoints + weights; }
};

struct Estimate {
  std::vector<StageEstimate> stages;  ///< in the graph's order
  DiskEstimate disk;
};

/// Matrix products as pipeline/tensor/flops.h counts them: training (a backward pass is two forward passes), validation
/// and previews; inversion and its round trips; all of the evaluation's samples. Not counted: work that is no product
/// (prepare, report, statistics), and that evaluation and preview pad their last slices.
Estimate estimate_run(const Config& config, const DatasetSize& dataset);

}  // namespace couplet
