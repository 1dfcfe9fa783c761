#include "pipeline/training/batch_split.h"

#include "pipeline/config/validation.h"

#include <algorithm>

namespace couplet {

BatchSplit split_batch(const TrainingTask& task, const TrainingPlan& plan, const PipelineConfig& pipeline,
                       const Communicator& communicator) {
  const std::int64_t ranks = communicator.size();
  require_slices(pipeline, ranks);
  require_sliceable(pipeline, section_of(task), plan.batch);
  BatchSplit split;
  split.reproducible = pipeline.reproducible;
  split.slices = pipeline.reproducible ? pipeline.slices : ranks;
  split.own_slices = split.slices / ranks;
  split.first_slice = split.own_slices * communicator.rank();
  split.slice_rows = plan.batch / split.slices;
  const std::int64_t micro = task.training.micro_batch;
  split.micro_rows = micro > 0 ? std::min(micro, split.slice_rows) : split.slice_rows;
  return split;
}

}  // namespace couplet
