#include "pipeline/training/memory_plan.h"

#include "pipeline/distributed/agreement.h"
#include "pipeline/distributed/measured_memory.h"
#include "pipeline/process/host.h"
#include "pipeline/tensor/autocast.h"
#include "pipeline/training/observation.h"
#include "storage/error.h"
#include "storage/text.h"

#include <ATen/ATen.h>
#include <torch/nn/module.h>

#include <algorithm>

namespace couplet {
namespace {

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

/// A forward and backward pass of the first rows of a batch.
void train_on(const TrainingTask& task, const Batch& batch, std::int64_t rows, c10::Device device) {
  Batch part;
  for (const at::Tensor& tensor : batch) part.push_back(tensor.narrow(0, 0, rows).to(device));
  at::Tensor loss;
  {
    const Autocast autocast(task.training.precision, device);
    loss = task.loss(part);
  }
  loss.backward();
}

/// What a pass and a preview take.
struct Measured {
  RowBytes pass;
  std::int64_t samples = 0;
};

std::int64_t sample_bytes(const TrainingTask& task, torch::nn::Module& model, DeviceMemory& memory) {
  const Evaluating evaluating(model);
  // The averages stand in for the weights meanwhile, one parameter's values being copied at a time (WithEma).
  std::int64_t swapped = 0;
  for (const at::Tensor& parameter : model.parameters())
    swapped = std::max(swapped, static_cast<std::int64_t>(parameter.nbytes()));
  const std::int64_t rows = memory.is_host() ? task.sample_rows.on_host : 1;
  return std::max(swapped, measure_rows(memory, rows, task.sample_rows.make).of(rows));
}

Measured measure(const TrainingTask& task, torch::nn::Module& model, const TrainingPlan& plan, c10::Device device,
                 DeviceMemory& memory) {
  BatchRange range = plan.range(0);
  range.rows = std::min<std::int64_t>(range.rows, 2);
  // Whatever this batch leaves behind is undone: training begins with it once more.
  const NamedTensors before = task.batch_state ? task.batch_state->state() : NamedTensors();
  const Batch batch = task.batch(range);
  if (task.batch_state) task.batch_state->restore(before);
  Measured measured;
  if (task.sample_rows.make && task.preview_every > 0) measured.samples = sample_bytes(task, model, memory);
  const SpareGradients gradients(model);
  measured.pass = measure_rows(memory, range.rows, [&](std::int64_t rows) { train_on(task, batch, rows, device); });
  return measured;
}

/// Returns the largest figures of all ranks, or throws on every one. Collective.
Measured measure_on_all(const TrainingTask& task, torch::nn::Module& model, const TrainingPlan& plan,
                        Communicator& communicator, c10::Device device, DeviceMemory& memory) {
  if (task.agree_on_batch) task.agree_on_batch(0);
  Measured measured;
  const auto failed = try_on_all(communicator, [&] {
    try {
      measured = measure(task, model, plan, device, memory);
    } catch (const std::exception& error) {
      if (!is_exhaustion(error)) throw;
      fail("not even two rows at once fit into memory: {}", words_of(error));
    }
  });
  if (failed && failed->rank == communicator.rank()) throw Error(failed->reason);
  if (failed) fail("{}: rank {} failed while memory was measured: {}", task.name, failed->rank, failed->reason);
  for (std::int64_t* bytes : {&measured.pass.fixed, &measured.pass.row, &measured.samples})
    *bytes = communicator.maximum(*bytes);
  return measured;
}

/// The least over the ranks, which must not part where one of them does not know. Collective.
std::optional<std::int64_t> least(std::optional<std::int64_t> bytes, Communicator& communicator) {
  constexpr std::int64_t unknown = std::int64_t{1} << 62;
  const std::int64_t found = -communicator.maximum(-bytes.value_or(unknown));
  return found == unknown ? std::nullopt : std::optional(found);
}

std::string advice(const TrainingTask& task, const TrainingPlan& plan, const MemoryPlan& memory, std::int64_t most) {
  const std::string section = section_of(task);
  if (const std::int64_t fitting = memory.largest_fitting(plan.rows, most); fitting > 0)
    return fmt::format("{}.micro-batch = {} fits", section, fitting);
  MemoryPlan without = memory;
  without.samples = 0;
  if (const std::int64_t fitting = without.largest_fitting(plan.rows, plan.rows); fitting > 0)
    return fmt::format("no samples on the way ({0}.preview-every = 0) and {0}.micro-batch = {1} fit", section, fitting);
  return fmt::format("no micro-batch of a rank's {} rows fits: fewer ranks a host, a smaller model, or more memory",
                     plan.rows);
}

void require_fitting(const TrainingTask& task, const TrainingPlan& plan, const MemoryPlan& memory, std::int64_t rows) {
  if (!memory.fits_host())
    refuse(
        "{}: the copies that checkpoints and results are written from take {} of a host's memory, {} are available: "
        "fewer rates of averages ({}.ema), or more memory",
        task.name, bytes_text(memory.host), bytes_text(*memory.host_available), section_of(task));
  if (memory.fits(rows)) return;
  refuse(
      "{}: a rank needs {} of memory besides its weights ({} of gradients, optimizer and averages, {} of a "
      "checkpoint's copy, and the most of: {} of activations for {} images at once, {} of samples on the way, {} of "
      "copies at the end), {} are available: {}",
      task.name, bytes_text(memory.besides_weights(rows)), bytes_text(memory.state), bytes_text(memory.checkpoint),
      bytes_text(memory.activations(rows)), rows, bytes_text(memory.samples), bytes_text(memory.result),
      bytes_text(*memory.available), advice(task, plan, memory, rows));
}

}  // namespace

std::int64_t MemoryPlan::largest_fitting(std::int64_t rows, std::int64_t most) const {
  for (std::int64_t count = std::min(rows, most); count > 0; --count) {
    if (rows % count == 0 && fits(count)) return count;
  }
  return 0;
}

std::string MemoryPlan::text(std::int64_t rows) const {
  const auto part = [](const char* what, std::int64_t bytes) {
    return bytes > 0 ? fmt::format("{} {}; ", what, bytes_text(bytes)) : "";
  };
  const auto known = [](const std::optional<std::int64_t>& bytes) {
    return bytes ? bytes_text(*bytes) : "unknown how much is";
  };
  const std::string on_host = host > 0 ? fmt::format("; copies for files {} on a host, {} available there",
                                                     bytes_text(host), known(host_available))
                                       : "";
  return fmt::format("weights, gradients, optimizer, EMA {}; {}activations {} an image, {} for {}; {}{} available{}",
                     bytes_text(weights + state), part("a checkpoint's copy", checkpoint), bytes_text(row),
                     bytes_text(activations(rows)), rows, part("samples", samples), known(available), on_host);
}

MemoryPlan plan_memory(const TrainingTask& task, torch::nn::Module& model, const TrainingPlan& plan,
                       const TrainingSizes& sizes, Communicator& communicator, c10::Device device,
                       DeviceMemory& device_memory) {
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
  const std::int64_t checkpoint = memory.weights + 2 * trained + averages, result = memory.weights + averages;
  if (device_memory.is_host()) {
    memory.checkpoint = checkpoint;
    memory.result = result;
  } else {
    memory.host = checkpoint + result;  // rank 0 writes both, and keeps the memory of checkpoints
    memory.host_available = least(communicator.is_root() ? available_host_memory() : std::nullopt, communicator);
  }
  if (plan.steps == 0) return memory;  // nothing is trained: weights are taken as they are
  const Measured measured = measure_on_all(task, model, plan, communicator, device, device_memory);
  memory.fixed = measured.pass.fixed;
  memory.row = measured.pass.row;
  memory.samples = measured.samples;
  memory.available = least(device_memory.available(), communicator);
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
         plan.rank, micro_rows, advice(task, plan, memory, micro_rows - 1), words_of(error));
  }
}

}  // namespace couplet
