// The model of a run's stages on numbers of ranks: what `couplet submit --dry-run` prints.
#pragma once

#include "pipeline/config/config.h"
#include "pipeline/run/stage_graph.h"
#include "stages/cost/dataset_size.h"
#include "stages/cost/load_table.h"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace couplet {

/// Where a stage's ranks compute.
struct StageRanks {
  std::int64_t ranks = 1;
  bool on_gpu = true;
  std::int64_t of_node = 0;  ///< of them on a node, which are its GPUs; 0: as many as the machine has
};

/// Every stage of the graph, on the ranks that its kind has. Times are those of GPUs; on cores there are none.
std::vector<StagePoint> run_points(const Config& config, const DatasetSize& dataset, const StageGraph& graph,
                                   const std::function<StageRanks(const std::string& kind)>& ranks_of,
                                   const Machine& machine);
/// The same with batches that have grown with the ranks (weak scaling).
std::vector<StagePoint> grown_points(const std::vector<StagePoint>& points, bool overlap, const Machine& machine);

}  // namespace couplet
