#include "pipeline/training/trainer.h"

#include "pipeline/checkpoint/checkpoint.h"
#include "pipeline/checkpoint/checkpoint_writer.h"
#include "pipeline/checkpoint/trained_state.h"
#include "pipeline/distributed/agreement.h"
#include "pipeline/distributed/measured_memory.h"
#include "pipeline/distributed/shared_tensors.h"
#include "pipeline/liveness/activity.h"
#include "pipeline/loader/prefetch.h"
#include "pipeline/optimizer/adamw.h"
#include "pipeline/optimizer/ema.h"
#include "pipeline/optimizer/flat_parameters.h"
#include "pipeline/optimizer/gradient_reduction.h"
#include "pipeline/optimizer/schedule.h"
#include "pipeline/process/interruption.h"
#include "pipeline/process/log.h"
#include "pipeline/training/digest.h"
#include "pipeline/training/local_step.h"
#include "pipeline/training/matmul_peak.h"
#include "pipeline/training/memory_plan.h"
#include "pipeline/training/observation.h"
#include "pipeline/training/plan.h"
#include "pipeline/training/thread_parts.h"
#include "pipeline/training/training_record.h"
#include "storage/clock.h"
#include "storage/error.h"
#include "storage/text.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <torch/nn/module.h>

#include <chrono>
#include <cmath>
#include <utility>

namespace couplet {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t batches_ahead = 2;  ///< are made, or being made, and not taken yet

std::vector<Ema> averages_of(const FlatParameters& parameters, const TrainingTask& task) {
  if (task.training.ema.empty()) refuse("{}.ema is empty; give at least one rate", section_of(task));
  std::vector<Ema> emas;
  for (const double rate : task.training.ema) emas.emplace_back(parameters, rate);
  return emas;
}

/// Where training is: after so many steps, of which some changed nothing.
struct Progression {
  bool resumed = false;
  std::int64_t step = 0;     ///< the next one
  std::int64_t skipped = 0;  ///< steps so far
  nlohmann::json line;       ///< metrics of the step before
  std::optional<BestStep> best;

  /// Number of the next update.
  std::int64_t update() const { return step - skipped; }
};

/// Takes the newest whole checkpoint up, if there is one. Collective.
Progression go_on(const TrainingTask& task, TrainedState& state, CheckpointStore& checkpoints,
                  Communicator& communicator) {
  const auto checkpoint = checkpoints.load_newest();
  if (!checkpoint) return {};
  state.restore(*checkpoint);
  if (task.batch_state) {
    NamedTensors batches;
    run_on_all(communicator, [&] {
      if (communicator.is_root()) batches = checkpoint->file(task.batch_state->file);
    });
    task.batch_state->restore(broadcast_tensors(batches, communicator));
  }
  const std::int64_t skipped = checkpoint->last.value("skipped", std::int64_t{0});
  return {true, checkpoint->step, skipped, checkpoint->last, checkpoint->best};
}

/// What every gradient is divided by: from the sum over the gradient groups to their mean, and down to `clip` where its
/// norm is larger.
double gradient_divisor(double groups, double mean_norm, double clip) {
  return clip > 0 && mean_norm > clip ? groups * mean_norm / clip : groups;
}

/// Counts a step whose numbers are not finite: nothing has been spoilt by it. Too many end training.
void skip(const TrainingTask& task, const PipelineConfig& pipeline, const AgreedStep& agreed, Progression& at,
          const Communicator& communicator) {
  const std::string what = agreed.nonfinite_rank >= 0 ? fmt::format("the loss of step {} is {} on rank {}", at.step,
                                                                    agreed.loss, agreed.nonfinite_rank)
                                                      : fmt::format(
                                                            "the norm of the gradient of step {} is {}, summed "
                                                            "over all ranks from losses that are finite",
                                                            at.step, agreed.gradient_norm);
  if (++at.skipped > pipeline.max_skipped) {
    fail(
        "{0}: {1}: {2} steps are more than pipeline.max-skipped = {3}; training has stopped before the update and the "
        "last checkpoint is intact; a lower {4}.learning-rate, a longer {4}.warmup or {4}.precision = float32 may help",
        task.name, what, at.skipped, pipeline.max_skipped, section_of(task));
  }
  if (communicator.is_root())
    warn_line(fmt::format("{}; it is skipped: {} of at most {}", what, at.skipped, pipeline.max_skipped));
}

/// True if what was seen after this step gave the best figure so far; the same on every rank, as the figures are.
bool note_best(const TrainingTask& task, const Observation& seen, Progression& at) {
  const auto found = seen.figures.find(task.best_of);
  if (found == seen.figures.end() || !found->is_number()) return false;
  const double figure = *found;
  if (!std::isfinite(figure) || (at.best && figure >= at.best->figure)) return false;
  at.best = BestStep{at.step, figure};
  return true;
}

/// The parameters that each rank has updated its share of, whole on every rank. Returns the seconds it took.
double gather_values(const FlatParameters& parameters, Communicator& communicator) {
  const auto start = Clock::now();
  for (const auto& bucket : parameters.buckets()) {
    at::Tensor values = bucket.values;
    communicator.all_gather_parts(values);
  }
  return seconds_since(start);
}

/// What the task does with its model after the optimizer.
void finish_step(const TrainingTask& task, const LocalStep& mine, Communicator& communicator) {
  const at::NoGradGuard no_grad;
  if (task.batch_mean) task.batch_mean->use(mean_over_groups(mine.means, communicator));
  if (task.after_step) task.after_step(mine.batch);
}

/// Copies the state, which is the pause in training, and leaves the writing to the background. Returns the seconds.
double save(const TrainingTask& task, TrainedState& state, const LocalStep& mine, CheckpointWriter& writer,
            const Progression& at, const TrainingRecord& record) {
  const auto start = Clock::now();
  writer.finish();
  auto files = state.host_copy();
  if (task.batch_state) files[task.batch_state->file] = mine.batch_state;
  writer.start({at.step, std::move(files), at.line, at.best}, [&record] { record.sync(); });
  return seconds_since(start);
}

/// What the plan of memory foretold, as it came to be.
void say_memory_used(c10::Device device, const Communicator& communicator) {
  if (device.is_cpu() || !communicator.is_root()) return;
  constexpr auto all = static_cast<std::size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  const auto stats = c10::getDeviceAllocator(device.type())->getDeviceStats(device.index());
  say("memory: tensors took at most {} of the GPU, {} with what LibTorch keeps for later ones",
      bytes_text(stats.allocated_bytes[all].peak), bytes_text(stats.reserved_bytes[all].peak));
}

/// Rank 0, which publishes, has copies on the host; the others need none.
TrainingResult result_of(const torch::nn::Module& model, const TrainedState& state, const FlatParameters& parameters,
                         const std::vector<Ema>& emas, const Progression& at, bool is_root) {
  const auto kept = [&](NamedTensors tensors) { return is_root ? host_copies(tensors) : std::move(tensors); };
  TrainingResult result{kept(named_tensors(model)), {}, {}, at.step, at.line, {}};
  const NamedTensors untrained = kept(state.untrained());
  for (std::size_t i = 0; i < emas.size(); ++i) {
    NamedTensors tensors = kept(parameters.named(emas[i].averages()));
    tensors.insert(untrained.begin(), untrained.end());
    result.emas.push_back({emas[i].rate(), ema_file(i, emas[i].rate()), std::move(tensors)});
  }
  result.ema = result.emas.front().tensors;
  return result;
}

}  // namespace

TrainingResult train(TrainingTask& task, torch::nn::Module& model, const PipelineConfig& pipeline,
                     Communicator& communicator, c10::Device device) {
  const TrainingPlan plan = plan_training(task, communicator);
  BatchSplit split = split_batch(task, plan, pipeline, communicator);
  const Share share = pipeline.shard_optimizer ? Share{communicator.rank(), communicator.size()} : Share{};
  model.to(device);
  model.train();
  broadcast_weights(model, communicator);  // however a rank made its own
  split.parts = thread_parts(task, model, split.micro_rows, device);
  const std::shared_ptr<DeviceMemory> device_memory =
      task.memory ? task.memory : std::shared_ptr<DeviceMemory>(measured_memory(device, communicator));
  const MemoryPlan memory = plan_memory(task, model, plan,
                                        {static_cast<std::int64_t>(task.training.ema.size()), share.count,
                                         split.micro_rows, communicator.maximum(split.gradient_copies())},
                                        communicator, device, *device_memory);
  TrainingFlops flops{task.flops_per_image};
  if (flops.per_image > 0) flops.matmul_peak = measure_matmul_peak(task.training.precision, device, communicator);
  say_plan(task, plan, split.micro_rows, parameter_count(model), flops, memory, communicator);

  FlatParameters parameters(model, {bucket_bytes(pipeline.bucket_size, device.is_cuda()), split.groups});
  GradientReduction reduction(parameters, {share, pipeline.overlap && split.parts == 1, split.reproducible},
                              communicator);
  const auto& training = task.training;
  AdamW optimizer(parameters,
                  {.beta1 = training.betas[0], .beta2 = training.betas[1], .weight_decay = training.weight_decay},
                  share);
  std::vector<Ema> emas = averages_of(parameters, task);
  TrainedState state(model, parameters, optimizer, emas, communicator);

  require_agreement(communicator, "what " + task.name + " is trained on", task.provenance);
  CheckpointStore checkpoints(task.directory / "checkpoints", pipeline.keep_checkpoints, task.provenance, communicator);
  Progression at = go_on(task, state, checkpoints, communicator);
  require_agreement(communicator, "where " + task.name + " goes on", {{"step", at.step}});
  TrainingRecord record(task.directory, at.resumed, at.step, plan, flops, static_cast<double>(pipeline.log_every),
                        communicator);
  CheckpointWriter writer(checkpoints, communicator);
  StepComputation computation(task, split, parameters, reduction, device);
  const auto agree_on = [&](std::int64_t step) {
    if (task.agree_on_batch && step < plan.steps) task.agree_on_batch(step);
  };
  for (std::int64_t ahead = 0; ahead < batches_ahead; ++ahead) agree_on(at.step + ahead);
  Prefetch<PreparedBatch> batches(
      at.step, plan.steps, [&](std::int64_t step) { return prepare_batch(task, plan, step, device.is_cuda()); },
      batches_ahead);

  for (double pause = 0; at.step < plan.steps;) {
    const auto start = Clock::now();
    note_progress(fmt::format("step {} of {}", at.step, plan.steps));
    agree_on(at.step + batches_ahead);
    LocalStep mine = computation.run(batches, [&](const std::function<void()>& work) {
      explain_exhaustion(task, plan, memory, at.step, split.micro_rows, work);
    });
    if (!mine.report.error) mine.report.run([&] { writer.rethrow_failure(); });
    const AgreedStep agreed = agree(mine.report, task.name, at.step, communicator);
    const double norm = agreed.gradient_norm / static_cast<double>(split.groups);
    const double rate = learning_rate(task.training, at.step);
    ReductionTimes communication = reduction.times();

    if (std::isfinite(agreed.loss) && std::isfinite(norm)) {
      optimizer.update(at.update(), rate,
                       gradient_divisor(static_cast<double>(split.groups), norm, task.training.clip));
      if (!share.is_whole()) communication.add(gather_values(parameters, communicator));
      finish_step(task, mine, communicator);
      for (Ema& ema : emas) ema.update(at.update());
    } else {
      skip(task, pipeline, agreed, at, communicator);
    }

    at.line = {{"step", at.step},
               {"loss", agreed.loss},
               {"grad_norm", norm},
               {"lr", rate},
               {"images", (at.step + 1) * plan.batch},
               {"digest", digest_text(agreed.digest)},
               {"rows", mine.rows},
               {"skipped", at.skipped},
               {"seconds", seconds_since(start)},
               {"data_stall", mine.data_stall},
               {"communication", communication.under_way},
               {"communication_stall", communication.stall},
               {"checkpoint_pause", std::exchange(pause, 0.0)}};
    ++at.step;
    const Observation seen = observe(
        task, model, [&] { return parameters.named(emas.front().averages()); }, at.step, plan.steps, *device_memory,
        communicator);
    at.line.update(seen.figures);
    const bool best = note_best(task, seen, at);
    record.step(at.line, seen);
    const bool due = pipeline.checkpoint_every > 0 && at.step % pipeline.checkpoint_every == 0 && at.step < plan.steps;
    if (agreed.stop || best || due) pause = save(task, state, mine, writer, at, record);
    if (agreed.stop) {
      writer.finish();
      record.event("interrupted", at.step);
      throw Interrupted(fmt::format(
          "{}: stopped on request after step {} of {}; its checkpoint is saved and the same command goes on from there",
          task.name, at.step, plan.steps));
    }
  }
  if (plan.steps > 0 && at.skipped == plan.steps)
    fail("{}: all {} steps were skipped, as their losses or gradients were not finite: nothing has been learnt",
         task.name, plan.steps);
  writer.finish();
  record.event("finished", plan.steps);
  say_memory_used(device, communicator);
  TrainingResult result = result_of(model, state, parameters, emas, at, communicator.is_root());
  if (at.best) result.best = task.directory / "checkpoints" / checkpoint_name(at.best->step);
  return result;
}

}  // namespace couplet
