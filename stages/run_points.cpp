#include "stages/run_points.h"

#include "stages/kinds.h"

namespace couplet {

std::vector<StagePoint> run_points(const Config& config, const DatasetSize& dataset, const StageGraph& graph,
                                   const std::function<StageRanks(const std::string& kind)>& ranks_of,
                                   const Machine& machine) {
  const CostModel model{config, graph, dataset};
  std::vector<StagePoint> points;
  for (const StageNode& node : graph) {
    const StageRanks on = ranks_of(node.kind);
    StageLoad load =
        found_of(node, [&] { return load_of(node, model, kind_of(node).cost(node, model), on.ranks, on.on_gpu); });
    Machine own = machine;
    if (on.of_node > 0) own.gpus = static_cast<double>(on.of_node);
    // The machine's figures are those of GPUs; estimate_text tells how long cores take.
    const StageTime time = on.on_gpu ? time_of(load, own, config.pipeline.overlap) : StageTime{};
    points.push_back({std::move(load), time});
  }
  return points;
}

std::vector<StagePoint> grown_points(const std::vector<StagePoint>& points, bool overlap, const Machine& machine) {
  std::vector<StagePoint> all;
  for (const StagePoint& point : points) {
    StageLoad load = grown(point.load, machine);
    const StageTime time = time_of(load, machine, overlap);
    all.push_back({std::move(load), time});
  }
  return all;
}

}  // namespace couplet
