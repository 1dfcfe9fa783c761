// One rank's part of a training step: its rows go through the model and back before the ranks meet.
#pragma once

#include "pipeline/loader/prefetch.h"
#include "pipeline/optimizer/flat_parameters.h"
#include "pipeline/optimizer/gradient_reduction.h"
#include "pipeline/optimizer/gradient_tree.h"
#include "pipeline/training/plan.h"
#include "pipeline/training/step_report.h"
#include "pipeline/training/task.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

namespace couplet {

/// One rank's part of a step's batch, as the background thread leaves it; it is in pinned memory if `pin`.
struct PreparedBatch {
  Batch tensors;
  std::uint64_t digest = 0;
  NamedTensors state;  ///< the task's batch state behind this batch
};
PreparedBatch prepare_batch(const TrainingTask& task, const TrainingPlan& plan, std::int64_t step, bool pin);

struct LocalStep {
  StepReport report;
  Batch batch;                    ///< on the model's device
  double data_stall = 0;          ///< seconds that the rank waited for the batch
  std::int64_t rows = 0;          ///< how many were handed to the loss
  NamedTensors batch_state;       ///< behind the batch
  std::vector<at::Tensor> means;  ///< the task's batch mean, if it has one, over each gradient group; float64
};

/// Computes steps. After a step the parameters' gradients are those of this rank's gradient groups, summed over all
/// ranks (only this rank's share of them, where the reduction gives no more).
class StepComputation {
public:
  StepComputation(const TrainingTask& task, const BatchSplit& split, FlatParameters& parameters,
                  GradientReduction& reduction, c10::Device device);
  /// Collective, whatever fails here: an error stands in the report. What takes memory is called through `within`,
  /// which may word the error.
  LocalStep run(Prefetch<PreparedBatch>& batches, const std::function<void(const std::function<void()>&)>& within);

private:
  void run_group(LocalStep& mine, std::int64_t group);
  Batch rows_of(const Batch& batch, std::int64_t first, std::int64_t rows) const;
  std::vector<double> squares() const;

  const TrainingTask& task_;
  BatchSplit split_;
  FlatParameters& parameters_;
  GradientReduction& reduction_;
  std::optional<GradientTree> tree_;
  c10::Device device_;
};

/// Returns the mean over the gradient groups of all ranks, summed in their order. Collective.
at::Tensor mean_over_groups(const std::vector<at::Tensor>& own, Communicator& communicator);

}  // namespace couplet
