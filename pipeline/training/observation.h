// What a user sees of a model while it trains: validation figures and pictures of samples. Making them leaves no trace
// in the training.
#pragma once

#include "pipeline/distributed/communicator.h"
#include "pipeline/tensor/device_memory.h"
#include "pipeline/training/task.h"
#include "storage/formats/picture.h"

#include <ATen/core/grad_mode.h>
#include <torch/nn/module.h>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>

namespace couplet {

/// While it lives, the model is in evaluation mode and no gradients are recorded.
class Evaluating {
public:
  explicit Evaluating(torch::nn::Module& model) : model_(model), trained_(model.is_training()) { model_.eval(); }
  ~Evaluating() { model_.train(trained_); }
  Evaluating(const Evaluating&) = delete;
  Evaluating& operator=(const Evaluating&) = delete;

private:
  torch::nn::Module& model_;
  bool trained_;
  at::NoGradGuard no_grad_;
};

struct Observation {
  nlohmann::json figures = nlohmann::json::object();  ///< for the step's metrics line; the same on all ranks
  std::optional<Picture> picture;                     ///< on rank 0
};

/// Makes what is due after `done` of `steps` steps: figures of validation with the averaged weights, under their own
/// names, and with the raw weights, under "raw_" and the name; a preview with the averaged weights;
/// "observation_pause", the seconds it all took. Where nothing is due there are no figures. The model is in evaluation
/// mode meanwhile, and afterwards as it was, bit for bit. `averages` is called where something is due only. On a GPU,
/// whose `memory` it is, as many rows are computed at once as fit. Where memory runs out all the same, what is not
/// there yet is left out, with a warning that says so, and training goes on. Collective.
Observation observe(const TrainingTask& task, torch::nn::Module& model, const std::function<NamedTensors()>& averages,
                    std::int64_t done, std::int64_t steps, DeviceMemory& memory, const Communicator& communicator);

}  // namespace couplet
