// The training loop that teacher, student and feature training share: a model, a loss over a batch, a source of
// batches.
#pragma once

#include "pipeline/communicator.h"
#include "pipeline/config.h"
#include "pipeline/weights.h"
#include "storage/picture.h"

#include <torch/nn/module.h>

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace couplet {

/// The tensors handed to the model, rows on axis 0 of each: exactly what the digest covers.
using Batch = std::vector<at::Tensor>;

/// This rank's rows of the global batch of one step.
struct BatchRange {
  std::int64_t step = 0;
  std::int64_t first = 0;  ///< position in the training run: step · global batch + rank · rows
  std::int64_t rows = 0;
};

/// Samples of a model in training.
struct Preview {
  std::optional<Picture> picture;  ///< on rank 0
  nlohmann::json figures = nlohmann::json::object();
};

struct TrainingTask {
  std::string name;                 ///< of the stage instance, for messages
  std::filesystem::path directory;  ///< of the stage: checkpoints/, metrics.jsonl
  TrainingConfig training;
  nlohmann::json provenance;  ///< written into every checkpoint and checked on resuming: result keys, input hashes
  /// Makes this rank's part of a batch (CPU tensors); called ahead of time on another thread, so it must not touch the
  /// model.
  std::function<Batch(const BatchRange&)> batch;
  /// Mean loss over this rank's rows; called with the batch on the model's device, under autocast if so configured.
  std::function<at::Tensor(const Batch&)> loss;
  /// Optional: after the optimizer step, with the gradient-free part of the model's state (vp prior). Collective.
  std::function<void(const Batch&)> after_step;
  /// Optional: figures of the model as it stands, on data that it is not trained on; every `validate_every` steps and
  /// at the end. Called for the averaged weights and for the raw ones, in evaluation mode. The same on any number of
  /// ranks. Collective.
  std::function<nlohmann::json()> validate;
  std::int64_t validate_every = 0;
  /// Optional: the figure of `validate` by which checkpoints are compared, lower is better; the best one is kept.
  std::string best_of;
  /// Optional: samples of the model as it stands, every `preview_every` steps (0: never), with the averaged weights.
  /// The same on any number of ranks. Collective.
  std::function<Preview()> preview;
  std::int64_t preview_every = 0;
  /// Floating-point operations of the matrix products that a training image costs, forward and backward; 0: unknown.
  double flops_per_image = 0;
};

struct TrainingResult {
  NamedTensors weights;  ///< raw
  NamedTensors ema;      ///< exponential moving average of parameters; buffers as in `weights`
  std::int64_t steps = 0;
  nlohmann::json last;  ///< last metrics line
};

/// Trains from the newest whole checkpoint in `task.directory` (or from the model's present weights) to the end. Global
/// batch, gradient clipping over the global gradient, warm-up then cosine, fused AdamW with weight decay on matrices
/// only, EMA, checkpoints every `pipeline.checkpoint-every` steps, metrics a step, stop requests agreed on at step
/// boundaries (checkpoint, then throws Interrupted). Bit-equal to an uninterrupted run when resumed on the same number
/// of ranks and threads. A non-finite loss is an error that names step and rank.
TrainingResult train(TrainingTask& task, torch::nn::Module& model, const PipelineConfig& pipeline,
                     Communicator& communicator, torch::Device device);

/// Steps of a training section: images / batch, rounded up.
std::int64_t training_steps(const TrainingConfig& training);
/// The learning rate at a step: linear warm-up to `learning_rate`, then cosine to `final_learning_rate` at the last
/// step.
double learning_rate(const TrainingConfig& training, std::int64_t step);

}  // namespace couplet
