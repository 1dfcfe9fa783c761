#include "pipeline/training/plan.h"

#include "pipeline/config/validation.h"
#include "pipeline/optimizer/schedule.h"
#include "storage/error.h"

#include <algorithm>

namespace couplet {

std::string section_of(const TrainingTask& task) {
  return !task.section.empty() ? task.section : task.name.substr(0, task.name.find('/'));
}

TrainingPlan plan_training(const TrainingTask& task, const Communicator& communicator) {
  const std::string section = section_of(task);
  const std::int64_t batch = task.training.batch, ranks = communicator.size();
  if (batch < 1) refuse("{}.batch = {}: a batch has at least one row", section, batch);
  require_divisible(section, batch, ranks);
  if (task.training.precision != "float32" && task.training.precision != "bfloat16") {
    refuse("{}.precision = '{}' is neither float32 nor bfloat16", section, task.training.precision);
  }
  return {training_steps(task.training), batch, batch / ranks, communicator.rank()};
}

BatchSplit split_batch(const TrainingTask& task, const TrainingPlan& plan, const PipelineConfig& pipeline,
                       const Communicator& communicator) {
  const std::int64_t ranks = communicator.size();
  require_slices(pipeline, ranks);
  require_sliceable(pipeline, section_of(task), plan.batch);
  BatchSplit split;
  split.reproducible = pipeline.reproducible;
  split.groups = pipeline.reproducible ? pipeline.slices : ranks;
  split.own_groups = split.groups / ranks;
  split.first_group = split.own_groups * communicator.rank();
  split.group_rows = plan.batch / split.groups;
  const std::int64_t micro = task.training.micro_batch;
  split.micro_rows = micro > 0 ? std::min(micro, split.group_rows) : split.group_rows;
  return split;
}

}  // namespace couplet
