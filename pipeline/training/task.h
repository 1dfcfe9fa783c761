// What the training loop is given (a loss over a batch, a source of batches, what is measured of the model meanwhile)
// and what it gives back (the weights).
#pragma once

#include "pipeline/config/config.h"
#include "pipeline/loader/batch_range.h"
#include "pipeline/tensor/device_memory.h"
#include "pipeline/tensor/weights.h"
#include "storage/formats/picture.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace couplet {

/// The tensors that the model is given, with the rows on axis 0 of each. The digest covers exactly these.
using Batch = std::vector<at::Tensor>;

/// A figure of the rows, besides the loss, from which the gradient-free part of a model learns (vp prior).
struct BatchMean {
  /// Is called after each `loss` and returns the figure's mean over the rows that `loss` was called with, on the
  /// model's device.
  std::function<at::Tensor()> of_rows;
  /// Is called after the optimizer step with the mean over the global batch, float64. Its bits are the same on all
  /// ranks, and with pipeline.reproducible on any number of ranks.
  std::function<void(const at::Tensor&)> use;
};

/// What the making of batches leaves behind for later ones, where that is anything: it is part of every checkpoint.
struct BatchState {
  std::string file;  ///< of a checkpoint: "coupling.safetensors"
  /// The state after the last batch made, the same on all ranks. Called on the thread that makes them, behind each one:
  /// batches are made ahead of time, and a checkpoint takes the state that belongs to its step. The tensors must not
  /// change afterwards.
  std::function<NamedTensors()> state;
  /// Goes back to an earlier state, before batches are made: that of a checkpoint, or that before a batch was tried.
  std::function<void(const NamedTensors&)> restore;
};

/// Samples of a model in training.
struct Preview {
  std::optional<Picture> picture;  ///< on rank 0
  nlohmann::json figures = nlohmann::json::object();
};

/// How the rows of a preview are computed, for the plan of memory.
struct SampleRows {
  /// Makes so many samples on this rank alone, of the model as it stands.
  std::function<void(std::int64_t rows)> make;
  std::int64_t on_host = 1;  ///< the rows that a CPU computes at once
};

struct TrainingTask {
  std::string name;                 ///< of the stage instance, for messages
  std::string section;              ///< of the keys, for messages; "": the name as far as a slash
  std::filesystem::path directory;  ///< of the stage: checkpoints/, metrics.jsonl
  TrainingConfig training;
  nlohmann::json provenance;  ///< written into every checkpoint and checked on resuming: result keys, input hashes
  /// Optional. Lets the ranks tell each other what they must know to make the batch of a step. It is called for one
  /// step after the other, before `batch` is, on the thread that trains. Collective.
  std::function<void(std::int64_t step)> agree_on_batch;
  /// Makes this rank's part of a batch (CPU tensors). It is called ahead of time on another thread, so it must not
  /// touch the model.
  std::function<Batch(const BatchRange&)> batch;
  std::optional<BatchState> batch_state;
  /// Returns the mean loss over the rows that it is called with: this rank's rows of the step, or a part of them
  /// (micro-batches, gradient groups). They are on the model's device, under autocast if so configured. On a CPU it is
  /// called by several threads at once, each with a part of the rows, unless there is a batch mean.
  std::function<at::Tensor(const Batch&)> loss;
  std::optional<BatchMean> batch_mean;
  /// Optional. Is called after the optimizer step with this rank's rows, unless the step is skipped. Collective.
  std::function<void(const Batch&)> after_step;
  /// Optional. Returns figures of the model as it stands, on data that it is not trained on, the same on any number of
  /// ranks. It is called every `validate_every` steps and at the end, for the averaged weights and for the raw ones, in
  /// evaluation mode. Collective.
  std::function<nlohmann::json()> validate;
  std::int64_t validate_every = 0;
  /// Optional. Names the figure of `validate` by which checkpoints are compared; the lowest is the best, and is kept.
  std::string best_of;
  /// Optional. Returns samples of the model with the averaged weights, the same on any number of ranks. It is called
  /// every `preview_every` steps (0: never). Collective.
  std::function<Preview()> preview;
  std::int64_t preview_every = 0;
  SampleRows sample_rows;
  /// On a GPU: the rows that `validate` and `preview` compute at once; 0: as many as fit.
  std::int64_t rows_at_once = 0;
  /// Optional. Stands in for the memory of the device.
  std::shared_ptr<DeviceMemory> memory;
  /// The floating-point operations of the matrix products that a training image costs, forward and backward; 0:
  /// unknown.
  double flops_per_image = 0;
};

/// The moving average of one rate.
struct AveragedWeights {
  double rate = 0;
  std::string file;      ///< "ema.safetensors", or "ema-0.9999.safetensors" for a further rate
  NamedTensors tensors;  ///< buffers as in the raw weights
};

/// On rank 0 all tensors are copies on the CPU. On the others they lie where they were trained: `weights` and the
/// buffers are the model's own.
struct TrainingResult {
  NamedTensors weights;               ///< raw
  NamedTensors ema;                   ///< the moving average of the first rate; buffers as in `weights`
  std::vector<AveragedWeights> emas;  ///< the averages of every rate; the first is `ema`
  std::int64_t steps = 0;
  nlohmann::json last;         ///< the last metrics line
  std::filesystem::path best;  ///< directory of the checkpoint with the best figure; "": none was measured
};

}  // namespace couplet
