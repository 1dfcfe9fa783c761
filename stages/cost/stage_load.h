// What a stage asks of its ranks, of the network between them and of the file system, on a number of ranks. Every
// figure is of a run that is neither stopped nor resumed, and is what StageTraffic counts (stages/stage_traffic.h);
// tests/whole/loads_test.py compares them, docs/scaling.md tells how well they agree.
#pragma once

#include "stages/cost/model_layout.h"
#include "stages/cost/stage_cost.h"

#include <cstdint>
#include <map>
#include <string>

namespace couplet {

/// Calls of a collective by one rank, and the bytes of the tensors that it gives.
struct CollectiveLoad {
  double calls = 0, bytes = 0;
};

struct StageLoad {
  std::string stage, kind;
  std::int64_t ranks = 1;
  Flops flops;  ///< of all ranks

  // How the work divides: ranks take turns at `units`, all of them in each of `rounds` rounds. Training has a round a
  // step, whose units are the images of a batch; other stages have one.
  std::string unit;  ///< "images", "shards", "slices"; "": one rank works
  std::int64_t units = 1;
  double rounds = 1;

  std::map<std::string, CollectiveLoad> collectives;  ///< by operation, as CollectiveCount has them
  double bytes_read = 0, bytes_written = 0;           ///< of all ranks together
  double opens = 0;                                   ///< of files, by all ranks
  bool knows_reading = true;                          ///< false: bytes_read and opens lack what its kind of table reads
  double looks = 0;                                   ///< at shards, by name and size
  double opens_at_start = 0;                          ///< of those, before the first round can end

  // Of stages that train:
  ModelLayout layout;
  std::int64_t slices = 0;           ///< gradient groups, which ranks share equally; 0: each rank has one of its own
  std::int64_t optimizer_parts = 1;  ///< of its state, a part a rank (pipeline.shard-optimizer)
  double averages = 0;               ///< rates of [X] ema that are kept
  double state_bytes = 0;            ///< a rank: weights, gradients, the optimizer's state and averages
  double checkpoint_bytes = 0;       ///< of one
  double checkpoints = 0;

  double calls() const;
  /// Bytes that a rank sends, by the usual algorithms (rings; a tree for what one rank has).
  double network_bytes() const;
};

/// On `ranks` ranks; `on_gpu`: as buckets of gradients are sized there. Of a kind of stage that it does not know, it
/// fails.
StageLoad load_of(const StageNode& node, const CostModel& model, const StageCost& cost, std::int64_t ranks,
                  bool on_gpu);

}  // namespace couplet
