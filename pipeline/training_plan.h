// How a training section turns into steps, rows a rank and learning rates.
#pragma once

#include "pipeline/flops.h"
#include "pipeline/trainer.h"

namespace couplet {

struct MemoryPlan;

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
/// Lines before the first step, on rank 0: parameters, steps, batch and its division, precision, threads; what the
/// images cost and what the ranks compute; memory.
void say_plan(const TrainingTask& task, const TrainingPlan& plan, std::int64_t micro_rows, std::int64_t parameters,
              const TrainingFlops& flops, const MemoryPlan& memory, const Communicator& communicator);
/// The section of the task's keys: "student" for "student/nf-0".
std::string section_of(const TrainingTask& task);

}  // namespace couplet
