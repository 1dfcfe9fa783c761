// Loads and times of a run's stages, for people and for programs.
#pragma once

#include "stages/cost/scaling.h"
#include "stages/cost/stage_cost.h"

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace couplet {

/// A stage on a number of ranks.
struct StagePoint {
  StageLoad load;
  StageTime time;
};

/// A row a stage: memory, network, files, time, and what saturates first. Whole lines.
std::string load_text(const std::vector<StagePoint>& stages, const Machine& machine);
/// A row a stage and number of ranks: how long it lasts, how much of the GPUs' time is used, and what saturates.
std::string scaling_text(const std::vector<StagePoint>& points, const Machine& machine);
/// {"stage", "ranks", "collectives", ..., "seconds", "parts", "efficiency"} of each. Null are times of stages on cores,
/// and what reading is not known.
nlohmann::json points_json(const std::vector<StagePoint>& points);

/// Training with as many images a rank as on one node: the batch grows with the ranks, and so do the products.
StageLoad grown(const StageLoad& load, const Machine& machine);

}  // namespace couplet
