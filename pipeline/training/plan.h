// How many steps a training section makes, which rows each rank computes, which of them at once, and which sums are
// formed on the way.
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
  std::int64_t batch = 0;  ///< the global batch
  std::int64_t rows = 0;   ///< rows of the global batch on each rank
  int rank = 0;

  /// Returns this rank's rows of a step.
  BatchRange range(std::int64_t step) const { return {step, step * batch + rank * rows, rows, batch}; }
};

/// Refuses a global batch that does not divide by the ranks, and an unknown precision.
TrainingPlan plan_training(const TrainingTask& task, const Communicator& communicator);
/// The section of the task's keys: its own, or "student" for "student/nf-0".
std::string section_of(const TrainingTask& task);

/// The global batch consists of equal gradient groups: rows whose gradients are summed before they meet those of other
/// groups. A rank computes its groups one after the other, each some rows at a time (micro-batches; the last one of a
/// group may be shorter). With pipeline.reproducible there are pipeline.slices groups; without it each rank has one
/// group, its rows.
struct BatchSplit {
  std::int64_t groups = 1;       ///< gradient groups of the global batch
  std::int64_t first_group = 0;  ///< of this rank
  std::int64_t own_groups = 1;
  std::int64_t group_rows = 0;
  std::int64_t micro_rows = 0;
  std::int64_t parts = 1;  ///< of the rows computed at once, one a thread (thread_parts)
  bool reproducible = false;

  /// Sums of groups that wait for their neighbours at the same time (GradientTree), one for each level of the tree, and
  /// the parts' own gradients.
  std::int64_t gradient_copies() const {
    return std::bit_width(static_cast<std::uint64_t>(own_groups)) - 1 + (parts > 1 ? parts : 0);
  }
};

/// Refuses a number of gradient groups that the ranks cannot share equally.
BatchSplit split_batch(const TrainingTask& task, const TrainingPlan& plan, const PipelineConfig& pipeline,
                       const Communicator& communicator);

}  // namespace couplet
