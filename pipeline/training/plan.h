// How a training section turns into steps and rows a rank.
#pragma once

#include "pipeline/distributed/communicator.h"
#include "pipeline/training/task.h"

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

}  // namespace couplet
