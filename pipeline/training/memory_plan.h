// How much memory training will take, as measured before the first step.
#pragma once

#include "pipeline/distributed/communicator.h"
#include "pipeline/tensor/device_memory.h"
#include "pipeline/training/plan.h"
#include "pipeline/training/task.h"

#include <c10/core/Device.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace couplet {

/// What a rank's memory depends on besides the model and the number of rows.
struct TrainingSizes {
  std::int64_t averages = 1;         ///< number of EMA rates
  std::int64_t optimizer_parts = 1;  ///< number of ranks that share the optimizer's state
  std::int64_t micro_rows = 0;       ///< rows that a rank computes at once
  std::int64_t gradient_copies = 0;  ///< that are kept at once besides the sum (BatchSplit::gradient_copies)
};

/// The memory in bytes of the rank that needs most, and the memory of the rank that has least. Equal on all ranks.
/// Steps, samples of the model in training, and the copies that training ends with come one after the other.
struct MemoryPlan {
  std::int64_t weights = 0;     ///< and buffers, which are there already
  std::int64_t state = 0;       ///< of gradients, optimizer and averages
  std::int64_t checkpoint = 0;  ///< of the copy that a checkpoint is written from; 0 on a GPU, as it lies on the host
  std::int64_t fixed = 0;       ///< of a forward and backward pass, whatever the number of rows
  std::int64_t row = 0;         ///< of such a pass, for each row (image) computed at once
  std::int64_t samples = 0;     ///< of a preview, on a GPU with one row at once; 0: none is made
  std::int64_t result = 0;      ///< of the copy of weights and averages at the end; 0 on a GPU, as it lies on the host
  std::optional<std::int64_t> available = {};       ///< besides the weights; where it is not known, all fits
  std::int64_t host = 0;                            ///< of the memory of rank 0's host, of both copies; 0 on a CPU
  std::optional<std::int64_t> host_available = {};  ///< to them

  std::int64_t activations(std::int64_t rows) const { return fixed + rows * row; }
  std::int64_t besides_weights(std::int64_t rows) const {
    return state + checkpoint + std::max({activations(rows), samples, result});
  }
  bool fits(std::int64_t rows) const { return !available || besides_weights(rows) <= *available; }
  bool fits_host() const { return !host_available || host <= *host_available; }
  /// The largest divisor of `rows`, at most `most`, that fits; 0 if none does.
  std::int64_t largest_fitting(std::int64_t rows, std::int64_t most) const;
  /// "weights, gradients, optimizer, EMA 12 MiB; a checkpoint's copy 9.5 MiB; activations 1.3 MiB an image, 42 MiB for
  /// 32; samples 5.0 MiB; 20 GiB available"
  std::string text(std::int64_t rows) const;
};

/// Measures forward and backward passes of one and two rows of the first batch, and samples, which leave no trace in
/// the model; its parameters have no gradients yet. Refuses a plan that exceeds what is available, naming a micro-batch
/// that fits. Without steps nothing is measured or refused. `memory`: of the device that the model is on. Collective.
MemoryPlan plan_memory(const TrainingTask& task, torch::nn::Module& model, const TrainingPlan& plan,
                       const TrainingSizes& sizes, Communicator& communicator, c10::Device device,
                       DeviceMemory& memory);

/// Calls `work`, a rank's part of a step. Where it runs out of memory, the error names step, rank, rows and a
/// micro-batch that fits.
void explain_exhaustion(const TrainingTask& task, const TrainingPlan& plan, const MemoryPlan& memory, std::int64_t step,
                        std::int64_t micro_rows, const std::function<void()>& work);

}  // namespace couplet
