#include "pipeline/training/memory_plan.h"

#include "pipeline/distributed/agreement.h"
#include "pipeline/distributed/cuda_library.h"
#include "pipeline/process/host.h"
#include "pipeline/tensor/autocast.h"
#include "storage/error.h"
#include "storage/host_name.h"
#include "storage/text.h"

#include <ATen/ATen.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/util/Exception.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <torch/nn/module.h>

#include <algorithm>
#include <array>
#include <mutex>
#include <new>
#include <string_view>

namespace couplet {
namespace {

/// Follows the CPU allocator of the threads that have it as their debug information.
class CpuMeter : public c10::MemoryReportingInfoBase {
public:
  void reportMemoryUsage(void*, std::int64_t bytes, std::size_t, std::size_t, c10::Device) override {
    const std::scoped_lock lock(mutex_);
    live_ += bytes;
    peak_ = std::max(peak_, live_);
  }
  bool memoryProfilingEnabled() const override { return true; }
  std::int64_t peak() const { return peak_; }

private:
  std::mutex mutex_;
  std::int64_t live_ = 0, peak_ = 0;
};

std::int64_t peak_on_gpu(c10::Device device, const std::function<void()>& work) {
  constexpr auto all = static_cast<std::size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  auto* allocator = c10::getDeviceAllocator(device.type());
  const auto stats = [&] { return allocator->getDeviceStats(device.index()).allocated_bytes[all]; };
  allocator->resetPeakStats(device.index());
  const std::int64_t before = stats().current;
  work();
  return stats().peak - before;
}

/// While it lives, the trained parameters have gradients of their own; afterwards none.
class SpareGradients {
public:
  explicit SpareGradients(const torch::nn::Module& model) {
    for (at::Tensor parameter : model.parameters()) {
      if (!parameter.requires_grad()) continue;
      parameter.mutable_grad() = at::zeros_like(parameter);
      parameters_.push_back(parameter);
    }
  }
  ~SpareGradients() {
    for (at::Tensor& parameter : parameters_) parameter.mutable_grad() = at::Tensor();
  }
  SpareGradients(const SpareGradients&) = delete;
  SpareGradients& operator=(const SpareGradients&) = delete;

private:
  std::vector<at::Tensor> parameters_;
};

std::int64_t peak_of_rows(const TrainingTask& task, const Batch& batch, std::int64_t rows, c10::Device device) {
  Batch part;
  for (const at::Tensor& tensor : batch) part.push_back(tensor.narrow(0, 0, rows).to(device));
  const auto forward_backward = [&] {
    at::Tensor loss;
    {
      const Autocast autocast(task.training.precision, device);
      loss = task.loss(part);
    }
    loss.backward();
  };
  return peak_bytes(device, forward_backward);
}

bool is_exhaustion(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error) || dynamic_cast<const c10::OutOfMemoryError*>(&error)) return true;
  return std::string_view(error.what()).find("DefaultCPUAllocator: can't allocate memory") != std::string_view::npos;
}

/// Returns the bytes of a pass {whatever the rows, for each row}. Where a rank has one row, all is that row's.
std::array<std::int64_t, 2> measure(const TrainingTask& task, const torch::nn::Module& model, const TrainingPlan& plan,
                                    c10::Device device) {
  BatchRange range = plan.range(0);
  range.rows = std::min<std::int64_t>(range.rows, 2);
  // Whatever this batch leaves behind is undone: training begins with it once more.
  const NamedTensors before = task.batch_state ? task.batch_state->state() : NamedTensors();
  const Batch batch = task.batch(range);
  if (task.batch_state) task.batch_state->restore(before);
  const SpareGradients gradients(model);
  const std::int64_t one = peak_of_rows(task, batch, 1, device);
  if (plan.rows == 1) return {0, one};
  const std::int64_t row = std::max<std::int64_t>(0, peak_of_rows(task, batch, 2, device) - one);
  return {std::max<std::int64_t>(0, one - row), row};
}

/// Returns the largest figures of all ranks, or throws on every one. Collective.
std::array<std::int64_t, 2> measure_on_all(const TrainingTask& task, const torch::nn::Module& model,
                                           const TrainingPlan& plan, Communicator& communicator, c10::Device device) {
  std::array<std::int64_t, 2> sizes{};
  const auto failed = try_on_all(communicator, [&] {
    try {
      sizes = measure(task, model, plan, device);
    } catch (const std::exception& error) {
      if (!is_exhaustion(error)) throw;
      fail("not even two rows at once fit into memory: {}", error.what());
    }
  });
  if (failed && failed->rank == communicator.rank()) throw Error(failed->reason);
  if (failed) fail("{}: rank {} failed while memory was measured: {}", task.name, failed->rank, failed->reason);
  for (std::int64_t& size : sizes) size = communicator.maximum(size);
  return sizes;
}

/// The number of ranks that share this host's memory. Collective.
std::int64_t ranks_on_host(Communicator& communicator) {
  const std::string own = host_name();
  return std::ranges::count(communicator.gather_text(own), own);
}

std::optional<std::int64_t> available_to_rank(Communicator& communicator, c10::Device device) {
  const std::int64_t ranks = ranks_on_host(communicator);
  std::optional<std::int64_t> available;
  if (device.is_cpu()) {
    if (const auto host = available_host_memory()) available = *host / ranks;
    if (const auto own = available_address_space()) available = std::min(*own, available.value_or(*own));
  } else {
    auto* allocator = c10::getDeviceAllocator(device.type());
    const auto stats = allocator->getDeviceStats(device.index());
    constexpr auto all = static_cast<std::size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    const std::int64_t cached = stats.reserved_bytes[all].current - stats.allocated_bytes[all].current;
    const std::int64_t gpus = std::max(1, find_cuda().devices), sharing = (ranks + gpus - 1) / gpus;
    available = (static_cast<std::int64_t>(allocator->getMemoryInfo(device.index()).first)) / sharing + cached;
  }
  // The least over the ranks. They must not part where one of them does not know.
  constexpr std::int64_t unknown = std::int64_t{1} << 62;
  const std::int64_t least = -communicator.maximum(-available.value_or(unknown));
  return least == unknown ? std::nullopt : std::optional(least);
}

std::string advice(const TrainingTask& task, const TrainingPlan& plan, std::int64_t fitting) {
  const std::string section = section_of(task);
  if (fitting > 0) return fmt::format("{}.micro-batch = {} fits", section, fitting);
  return fmt::format("no micro-batch of a rank's {} rows fits: fewer ranks a host, a smaller model, or more memory",
                     plan.rows);
}

void require_fitting(const TrainingTask& task, const TrainingPlan& plan, const MemoryPlan& memory, std::int64_t rows) {
  if (memory.fits(rows)) return;
  refuse(
      "{}: a rank needs {} of memory besides its weights ({} of gradients, optimizer and averages, {} of a "
      "checkpoint's "
      "copy, {} of activations for {} images at once), {} are available: {}",
      task.name, bytes_text(memory.besides_weights(rows)), bytes_text(memory.state), bytes_text(memory.checkpoint),
      bytes_text(memory.activations(rows)), rows, bytes_text(*memory.available),
      advice(task, plan, memory.largest_fitting(plan.rows, rows)));
}

}  // namespace

std::int64_t peak_bytes(c10::Device device, const std::function<void()>& work) {
  if (!device.is_cpu()) return peak_on_gpu(device, work);
  const auto meter = std::make_shared<CpuMeter>();
  const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, meter);
  work();
  return meter->peak();
}

std::int64_t MemoryPlan::largest_fitting(std::int64_t rows, std::int64_t most) const {
  for (std::int64_t count = std::min(rows, most); count > 0; --count) {
    if (rows % count == 0 && fits(count)) return count;
  }
  return 0;
}

std::string MemoryPlan::text(std::int64_t rows) const {
  return fmt::format("weights, gradients, optimizer, EMA {}; {}activations {} an image, {} for {}; {} available",
                     bytes_text(weights + state),
                     checkpoint > 0 ? fmt::format("a checkpoint's copy {}; ", bytes_text(checkpoint)) : "",
                     bytes_text(row), bytes_text(activations(rows)), rows,
                     available ? bytes_text(*available) : "unknown how much is");
}

MemoryPlan plan_memory(const TrainingTask& task, torch::nn::Module& model, const TrainingPlan& plan,
                       const TrainingSizes& sizes, Communicator& communicator, c10::Device device) {
  MemoryPlan memory;
  std::int64_t parameters = 0, trained = 0;
  for (const auto& [name, tensor] : named_tensors(model)) memory.weights += static_cast<std::int64_t>(tensor.nbytes());
  for (const at::Tensor& parameter : model.parameters()) {
    const auto bytes = static_cast<std::int64_t>(parameter.nbytes());
    parameters += bytes;
    if (parameter.requires_grad()) trained += bytes;
  }
  const std::int64_t averages = sizes.averages * parameters;
  memory.state = (1 + sizes.gradient_copies) * trained + 2 * trained / sizes.optimizer_parts + averages;
  if (device.is_cpu()) memory.checkpoint = memory.weights + 2 * trained + averages;
  const auto [fixed, row] = measure_on_all(task, model, plan, communicator, device);
  memory.fixed = fixed;
  memory.row = row;
  memory.available = available_to_rank(communicator, device);
  require_fitting(task, plan, memory, sizes.micro_rows);
  return memory;
}

void explain_exhaustion(const TrainingTask& task, const TrainingPlan& plan, const MemoryPlan& memory, std::int64_t step,
                        std::int64_t micro_rows, const std::function<void()>& work) {
  try {
    work();
  } catch (const std::exception& error) {
    if (!is_exhaustion(error)) throw;
    fail("{}: memory ran out in step {} on rank {}, with {} images computed at once: {} ({})", task.name, step,
         plan.rank, micro_rows, advice(task, plan, memory.largest_fitting(plan.rows, micro_rows - 1)),
         dynamic_cast<const c10::Error*>(&error) ? static_cast<const c10::Error&>(error).what_without_backtrace()
                                                 : error.what());
  }
}

}  // namespace couplet
