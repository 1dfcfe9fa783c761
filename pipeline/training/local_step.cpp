#include "pipeline/training/local_step.h"

#include "pipeline/process/interruption.h"
#include "pipeline/training/digest.h"
#include "pipeline/training/thread_parts.h"
#include "storage/clock.h"
#include "storage/error.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

namespace couplet {
namespace {

using Clock = std::chrono::steady_clock;

Batch on_device(Batch batch, c10::Device device) {
  for (auto& tensor : batch) tensor = tensor.to(device, /*non_blocking=*/true);
  return batch;
}

}  // namespace

PreparedBatch prepare_batch(const TrainingTask& task, const TrainingPlan& plan, std::int64_t step, bool pin) {
  const BatchRange range = plan.range(step);
  PreparedBatch prepared{task.batch(range), 0, {}};
  if (task.batch_state) prepared.state = task.batch_state->state();
  for (std::size_t i = 0; i < prepared.tensors.size(); ++i) {
    auto& tensor = prepared.tensors[i];
    if (!tensor.device().is_cpu() || tensor.dim() < 1 || tensor.size(0) != range.rows) {
      fail("{}: tensor {} of the batch of step {} is not a CPU tensor of {} rows", task.name, i, step, range.rows);
    }
  }
  prepared.digest = batch_digest(prepared.tensors, range.first);
  if (pin) {
    for (auto& tensor : prepared.tensors) tensor = tensor.pin_memory();
  }
  return prepared;
}

StepComputation::StepComputation(const TrainingTask& task, const BatchSplit& split, FlatParameters& parameters,
                                 GradientReduction& reduction, c10::Device device)
    : task_(task), split_(split), parameters_(parameters), reduction_(reduction), device_(device) {
  if (split_.own_groups > 1) tree_.emplace(parameters_, split_.own_groups);
}

LocalStep StepComputation::run(Prefetch<PreparedBatch>& batches,
                               const std::function<void(const std::function<void()>&)>& within) {
  LocalStep mine;
  mine.report.losses.resize(static_cast<std::size_t>(split_.own_groups));
  parameters_.zero_gradients();
  reduction_.begin();
  mine.report.run([&] {
    const auto asked = Clock::now();
    PreparedBatch prepared = batches.next();
    mine.data_stall = seconds_since(asked);
    mine.report.digest = prepared.digest;
    mine.batch_state = std::move(prepared.state);
    within([&] {
      mine.batch = on_device(std::move(prepared.tensors), device_);
      for (std::int64_t group = 0; group < split_.own_groups; ++group) {
        run_group(mine, group);
        if (tree_) tree_->add(group);
      }
    });
  });
  reduction_.finish();
  mine.report.squares = squares();
  mine.report.stop = stop_requested();
  return mine;
}

void StepComputation::run_group(LocalStep& mine, std::int64_t group) {
  std::vector<std::pair<at::Tensor, double>> losses;  // looked at in the end: until then no wait for a GPU
  at::Tensor mean;
  for (std::int64_t done = 0; done < split_.group_rows;) {
    const std::int64_t count = std::min(split_.micro_rows, split_.group_rows - done);
    const double weight = static_cast<double>(count) / static_cast<double>(split_.group_rows);
    const Batch rows = rows_of(mine.batch, group * split_.group_rows + done, count);
    done += count;
    mine.rows += count;
    if (group + 1 == split_.own_groups && done == split_.group_rows) reduction_.follow_backward();
    losses.emplace_back(forward_backward(task_, rows, weight, split_.parts, parameters_, device_), weight);
    if (task_.batch_mean) {
      const at::Tensor part = task_.batch_mean->of_rows().detach().to(at::kDouble) * weight;
      mean = mean.defined() ? mean + part : part;
    }
  }
  for (const auto& [loss, weight] : losses)
    mine.report.losses[static_cast<std::size_t>(group)] += loss.item<double>() * weight;
  if (mean.defined()) mine.means.push_back(mean);
}

/// Some rows of the batch. Parts have memory of their own: kernels may give other bits where data starts elsewhere
/// within a cache line.
Batch StepComputation::rows_of(const Batch& batch, std::int64_t first, std::int64_t rows) const {
  if (rows == split_.own_groups * split_.group_rows && !split_.reproducible) return batch;
  Batch part;
  for (const auto& tensor : batch) part.push_back(tensor.narrow(0, first, rows).clone());
  return part;
}

/// Of this rank's parts of the gradient: of each, over the buckets in their order.
std::vector<double> StepComputation::squares() const {
  std::vector<at::Tensor> parts;
  for (std::int64_t i = 0; i < split_.own_groups; ++i) {
    const Share part{split_.first_group + i, split_.groups};
    for (const auto& bucket : parameters_.buckets()) parts.push_back(part.of(bucket.gradients));
  }
  const at::Tensor norms = at::stack(at::_foreach_norm(parts, 2, at::kDouble)).cpu();
  const auto* norm = norms.const_data_ptr<double>();
  std::vector<double> sums(static_cast<std::size_t>(split_.own_groups));
  for (double& sum : sums) {
    for (std::size_t i = 0; i < parameters_.buckets().size(); ++i, ++norm) sum += *norm * *norm;
  }
  return sums;
}

at::Tensor mean_over_groups(const std::vector<at::Tensor>& own, Communicator& communicator) {
  const at::Tensor groups = communicator.all_gather(at::stack(own)).flatten(0, 1);
  at::Tensor sum = groups.select(0, 0).clone();
  for (std::int64_t group = 1; group < groups.size(0); ++group) sum.add_(groups.select(0, group));
  return sum.div_(static_cast<double>(groups.size(0)));
}

}  // namespace couplet
