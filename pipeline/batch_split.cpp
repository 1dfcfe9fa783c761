#include "pipeline/batch_split.h"

#include "storage/error.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

namespace couplet {
namespace {

bool is_power_of_two(std::int64_t number) {
  return number > 0 && std::has_single_bit(static_cast<std::uint64_t>(number));
}

std::string powers_up_to(std::int64_t last) {
  std::string text;
  for (std::int64_t power = 1; power <= last; power *= 2) text += fmt::format("{}{}", text.empty() ? "" : ", ", power);
  return text;
}

}  // namespace

void require_slices(const PipelineConfig& pipeline, std::int64_t ranks) {
  if (!pipeline.reproducible) return;
  if (!is_power_of_two(pipeline.slices)) {
    const auto below = std::bit_floor(static_cast<std::uint64_t>(std::max<std::int64_t>(pipeline.slices, 1)));
    refuse("pipeline.slices = {} is no power of two; the nearest are {} and {}", pipeline.slices, below, 2 * below);
  }
  if (!is_power_of_two(ranks) || ranks > pipeline.slices) {
    refuse(
        "pipeline.reproducible: {} ranks cannot share {} slices of the batch equally; the numbers of ranks that can: "
        "{} "
        "(pipeline.slices = {})",
        ranks, pipeline.slices, powers_up_to(pipeline.slices), pipeline.slices);
  }
}

void require_sliceable(const PipelineConfig& pipeline, const std::string& section, std::int64_t batch) {
  if (!pipeline.reproducible || pipeline.slices < 1 || batch % pipeline.slices == 0) return;
  const std::int64_t below = batch / pipeline.slices * pipeline.slices, above = below + pipeline.slices;
  refuse("{}.batch = {} does not divide into pipeline.slices = {} equal slices; the nearest valid: {}", section, batch,
         pipeline.slices, below > 0 ? fmt::format("{}, {}", below, above) : fmt::format("{}", above));
}

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
