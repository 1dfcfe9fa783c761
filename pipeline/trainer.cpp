#include "pipeline/trainer.h"

#include "pipeline/autocast.h"
#include "pipeline/checkpoint.h"
#include "pipeline/digest.h"
#include "pipeline/ema.h"
#include "pipeline/gradients.h"
#include "pipeline/interruption.h"
#include "pipeline/matmul_peak.h"
#include "pipeline/memory_plan.h"
#include "pipeline/observation.h"
#include "pipeline/optimizer.h"
#include "pipeline/prefetch.h"
#include "pipeline/step_report.h"
#include "pipeline/training_plan.h"
#include "pipeline/training_record.h"
#include "storage/error.h"

#include <ATen/ATen.h>

#include <chrono>
#include <cmath>
#include <utility>

namespace couplet {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

NamedTensors parameters_of(const torch::nn::Module& model, bool only_trained) {
  NamedTensors parameters;
  for (const auto& item : model.named_parameters()) {
    if (item.value().requires_grad() || !only_trained) parameters.emplace(item.key(), item.value());
  }
  return parameters;
}

/// Every rank starts from rank 0's weights, however it made its own.
void share_weights(const torch::nn::Module& model, Communicator& communicator) {
  const at::NoGradGuard no_grad;
  for (auto& [name, tensor] : named_tensors(model)) {
    auto values = tensor.detach();
    communicator.broadcast(values, 0);
  }
}

/// Everything that a step changes.
struct TrainedState {
  torch::nn::Module& model;
  AdamW& optimizer;
  Ema& ema;

  /// The parts share memory with the state: write them before the next step.
  Checkpoint after(std::int64_t steps, const nlohmann::json& last) const {
    Checkpoint checkpoint{steps, named_tensors(model), ema.tensors(), optimizer.state(), last};
    checkpoint.ema.insert(checkpoint.weights.begin(),
                          checkpoint.weights.end());  // the buffers; parameters are there already
    return checkpoint;
  }
  void restore(const Checkpoint& checkpoint) {
    const std::string name = checkpoint_name(checkpoint.step);
    load_tensors(model, checkpoint.weights, name + "/weights.safetensors");
    restore_tensors(ema.tensors(), checkpoint.ema, name + "/ema.safetensors");
    restore_tensors(optimizer.state(), checkpoint.optimizer, name + "/optimizer.safetensors");
  }
};

/// Where training begins.
struct Start {
  bool resumed = false;
  std::int64_t step = 0;
  nlohmann::json last_line;  ///< metrics of the step before
};

/// Takes the newest whole checkpoint up, if there is one.
Start go_on(TrainedState& state, CheckpointStore& checkpoints) {
  const auto checkpoint = checkpoints.load_newest();
  if (!checkpoint) return {};
  state.restore(*checkpoint);
  return {true, checkpoint->step, checkpoint->last};
}

/// One rank's part of a step's batch, as the background thread leaves it.
struct PreparedBatch {
  Batch tensors;
  std::uint64_t digest = 0;
};

PreparedBatch prepare_batch(const TrainingTask& task, const TrainingPlan& plan, std::int64_t step, bool pin) {
  const BatchRange range = plan.range(step);
  PreparedBatch prepared{task.batch(range), 0};
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

Batch on_device(Batch batch, torch::Device device) {
  for (auto& tensor : batch) tensor = tensor.to(device, /*non_blocking=*/true);
  return batch;
}

/// The gradient of the loss over this rank's rows is added to the parameters' .grad; returns the loss.
double forward_backward(const TrainingTask& task, const Batch& batch, torch::Device device) {
  at::Tensor loss;
  {
    const Autocast autocast(task.training.precision, device);
    loss = task.loss(batch);
  }
  loss.backward();
  return loss.item<double>();
}

/// One rank's part of a step before the ranks meet.
struct LocalStep {
  StepReport report;
  Batch batch;
  double stall = 0;  ///< seconds it waited for the batch
};

LocalStep compute(const TrainingTask& task, const TrainingPlan& plan, const MemoryPlan& memory, std::int64_t step,
                  Prefetch<PreparedBatch>& batches, torch::Device device) {
  LocalStep mine;
  mine.report.run([&] {
    const auto asked = Clock::now();
    PreparedBatch prepared = batches.next();
    mine.stall = seconds_since(asked);
    mine.report.digest = prepared.digest;
    explain_exhaustion(task, plan, memory, step, plan.rows, [&] {
      mine.batch = on_device(std::move(prepared.tensors), device);
      mine.report.loss = forward_backward(task, mine.batch, device);
    });
  });
  mine.report.stop = stop_requested();
  return mine;
}

/// The mean gradient's norm is known, the update not yet made: nothing has been spoilt if a number is not finite.
void require_finite(const TrainingTask& task, std::int64_t step, const AgreedStep& agreed, double norm) {
  const std::string rest = fmt::format(
      "training has stopped before the update and the last checkpoint is intact; a lower {0}.learning-rate, a longer "
      "{0}.warmup or "
      "{0}.precision = float32 may help",
      section_of(task));
  if (!std::isfinite(agreed.loss)) {
    fail("{}: the loss of step {} is {} on rank {}: {}", task.name, step, agreed.loss, agreed.nonfinite_rank, rest);
  }
  if (!std::isfinite(norm)) fail("{}: the norm of the gradient of step {} is {}: {}", task.name, step, norm, rest);
}

/// What every gradient is divided by: from the sum over ranks to the mean, and down to `clip` where its norm is larger.
double gradient_divisor(double ranks, double mean_norm, double clip) {
  return clip > 0 && mean_norm > clip ? ranks * mean_norm / clip : ranks;
}

NamedTensors host_copies(const NamedTensors& tensors) {
  NamedTensors copies;
  for (const auto& [name, tensor] : tensors)
    copies.emplace(name, tensor.detach().to(at::kCPU, tensor.scalar_type(), false, /*copy=*/true));
  return copies;
}

}  // namespace

TrainingResult train(TrainingTask& task, torch::nn::Module& model, const PipelineConfig& pipeline,
                     Communicator& communicator, torch::Device device) {
  const TrainingPlan plan = plan_training(task, communicator);
  model.to(device);
  model.train();
  share_weights(model, communicator);
  const MemoryPlan memory = plan_memory(task, model, plan, {.micro_rows = plan.rows}, communicator, device);
  TrainingFlops flops{task.flops_per_image};
  if (flops.per_image > 0) flops.matmul_peak = measure_matmul_peak(task.training.precision, device, communicator);
  say_plan(task, plan, plan.rows, parameter_count(model), flops, memory, communicator);

  const NamedTensors trained = parameters_of(model, true);
  FlatGradients gradients(trained);
  AdamWOptions options;
  options.weight_decay = task.training.weight_decay;
  AdamW optimizer(trained, options);
  Ema ema(parameters_of(model, false), task.training.ema);
  TrainedState state{model, optimizer, ema};

  CheckpointStore checkpoints(task.directory / "checkpoints", pipeline.keep_checkpoints, task.provenance, communicator);
  const auto [resumed, first_step, last_line] = go_on(state, checkpoints);
  nlohmann::json line = last_line;
  TrainingRecord record(task.directory, resumed, first_step, plan, flops, static_cast<double>(pipeline.log_every),
                        communicator);
  Prefetch<PreparedBatch> batches(first_step, plan.steps,
                                  [&](std::int64_t step) { return prepare_batch(task, plan, step, device.is_cuda()); });

  for (std::int64_t step = first_step; step < plan.steps; ++step) {
    const auto start = Clock::now();
    gradients.zero();
    const LocalStep mine = compute(task, plan, memory, step, batches, device);
    const AgreedStep agreed = agree(mine.report, task.name, step, communicator);
    gradients.sum_over_ranks(communicator);
    const double norm = gradients.norm() / communicator.size();
    require_finite(task, step, agreed, norm);

    const double rate = learning_rate(task.training, step);
    optimizer.update(step, rate, gradient_divisor(communicator.size(), norm, task.training.clip));
    if (task.after_step) {
      const at::NoGradGuard no_grad;
      task.after_step(mine.batch);
    }
    ema.update(step);

    const std::int64_t done = step + 1;
    line = {{"step", step},
            {"loss", agreed.loss},
            {"grad_norm", norm},
            {"lr", rate},
            {"images", done * plan.batch},
            {"digest", digest_text(agreed.digest)},
            {"seconds", seconds_since(start)},
            {"data_stall", mine.stall}};
    const Observation seen = observe(task, model, ema.tensors(), done, plan.steps);
    line.update(seen.figures);
    record.step(line, seen);
    if (agreed.stop || (pipeline.checkpoint_every > 0 && done % pipeline.checkpoint_every == 0 && done < plan.steps)) {
      record.sync();
      checkpoints.save(state.after(done, line));
    }
    if (agreed.stop) {
      record.event("interrupted", done);
      throw Interrupted(fmt::format(
          "{}: stopped on request after step {} of {}; its checkpoint is saved and the same command goes on from there",
          task.name, done, plan.steps));
    }
  }
  record.event("finished", plan.steps);
  const Checkpoint last = state.after(plan.steps, line);
  return {host_copies(last.weights), host_copies(last.ema), plan.steps, line};
}

}  // namespace couplet
