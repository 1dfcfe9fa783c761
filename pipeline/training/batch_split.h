// How the global batch is computed: which rows of it at once, and which sums are formed on the way.
#pragma once

#include "pipeline/config/config.h"
#include "pipeline/training/plan.h"

#include <bit>
#include <cstdint>

namespace couplet {

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
