// How a training section turns into steps and rows a rank; how the global batch is computed: which rows of it at once,
// and which sums are formed on the way.
#pragma once

#include "pipeline/config/config.h"
#include "pipeline/distributed/communicator.h"
#include "pipeline/training/task.h"

#include <bit>
#include <cstdint>
#include <string>

namespace couplet {

struct TrainingPlan {
  std::int64_t steps = 0;
  std::int64_t batch = 0;  ///< global
  std::int64_t rows = 0;   ///< of the global batch on each rank
  int rank = 0;

  /// This rank's rows of a step.
  BatchRange range(std::int64_t step) const { return {step, step * batch + rank * rows, rows}; }
};

/// Refuses what cannot be trained: a global batch that does not divide by the ranks (with the sizes and rank counts
/// that do), an unknown precision.
TrainingPlan plan_training(const TrainingTask& task, const Communicator& communicator);
/// The section of the task's keys: "student" for "student/nf-0".
std::string section_of(const TrainingTask& task);

/// The global batch is so many equal slices, each rank computes some of them one after the other, each of them some
/// rows at a time (micro-batches; the last one of a slice may be shorter). Without pipeline.reproducible each rank has
/// one slice: its rows.
struct BatchSplit {
  std::int64_t slices = 1;       ///< of the global batch
  std::int64_t first_slice = 0;  ///< of this rank
  std::int64_t own_slices = 1;
  std::int64_t slice_rows = 0;
  std::int64_t micro_rows = 0;
  bool reproducible = false;

  /// Sums of slices that wait for their neighbours at the same time (GradientTree): one for each level of the tree.
  std::int64_t gradient_copies() const { return std::bit_width(static_cast<std::uint64_t>(own_slices)) - 1; }
};

/// Refuses slices and ranks that do not go together.
BatchSplit split_batch(const TrainingTask& task, const TrainingPlan& plan, const PipelineConfig& pipeline,
                       const Communicator& communicator);

}  // namespace couplet
