// What a stage will cost before it runs: floating-point operations, and bytes on the disk.
#pragma once

#include "pipeline/config/config.h"
#include "pipeline/run/stage_graph.h"
#include "pipeline/tensor/device_memory.h"
#include "stages/cost/dataset_size.h"
#include "storage/error.h"

#include <cstdint>
#include <exception>
#include <string>
#include <vector>

namespace couplet {

/// Counts become figures: all arithmetic of costs is in double.
inline double as_double(std::int64_t count) {
  return static_cast<double>(count);
}

/// Floating-point operations, by the precision that they run in.
struct Flops {
  double bfloat16 = 0, float32 = 0;
  double all() const { return bfloat16 + float32; }
  Flops operator+(const Flops& other) const { return {bfloat16 + other.bfloat16, float32 + other.float32}; }
};

/// Bytes.
struct DiskEstimate {
  double dataset = 0;
  double coupling = 0;     ///< tables, training and held-out rows
  double checkpoints = 0;  ///< of stages that train, until `couplet clean` removes them
  double weights = 0;      ///< that the stages publish
  double all() const { return dataset + coupling + checkpoints + weights; }
};

struct StageCost {
  std::string stage, kind;
  std::string work;  ///< "11875 steps of 32", "60000 rows"
  Flops flops;
  DiskEstimate disk;
  std::int64_t parameters = 0;  ///< of the model that it trains
};

/// What costs follow from.
struct CostModel {
  const Config& config;
  const StageGraph& graph;
  const DatasetSize& dataset;
};

// Of one node of each kind. Matrix products as pipeline/tensor/flops.h counts them: training (a backward pass is two
// forward passes), validation and previews; inversion and its round trips; all of the evaluation's samples. Not
// counted: work that is no product (prepare, report, statistics), and that evaluation and preview pad their last
// slices.
StageCost prepare_cost(const StageNode& node, const CostModel& model);
StageCost latents_cost(const StageNode& node, const CostModel& model);
StageCost features_cost(const StageNode& node, const CostModel& model);
StageCost loss_features_cost(const StageNode& node, const CostModel& model);
StageCost autoencoder_cost(const StageNode& node, const CostModel& model);
StageCost teacher_cost(const StageNode& node, const CostModel& model);
StageCost gaussianiser_cost(const StageNode& node, const CostModel& model);
StageCost couple_cost(const StageNode& node, const CostModel& model);
StageCost noise_classifier_cost(const StageNode& node, const CostModel& model);
StageCost student_cost(const StageNode& node, const CostModel& model);
StageCost evaluate_cost(const StageNode& node, const CostModel& model);
/// None that is counted.
StageCost report_cost(const StageNode& node, const CostModel& model);

/// What `find` finds of a stage. What a library throws meanwhile becomes an error that names the stage.
template <class Find>
auto found_of(const StageNode& node, const Find& find) {
  try {
    return find();
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    fail("stage {}: {}", node.name, words_of(error));
  }
}

/// Whether a preview's samples are scored. That the features are complete by then is assumed.
bool is_scored(const PreviewConfig& preview, const CostModel& model);

struct Estimate {
  std::vector<StageCost> stages;  ///< in the graph's order
  DiskEstimate disk;              ///< of all
};

}  // namespace couplet
