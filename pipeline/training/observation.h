// What a user sees of a model while it trains: validation figures and pictures of samples. Making them leaves no trace
// in the training.
#pragma once

#include "pipeline/training/task.h"
#include "storage/formats/picture.h"

#include <nlohmann/json.hpp>
#include <optional>

namespace couplet {

struct Observation {
  nlohmann::json figures = nlohmann::json::object();  ///< for the step's metrics line; the same on all ranks
  std::optional<Picture> picture;                     ///< on rank 0
};

/// Makes what is due after `done` of `steps` steps: figures of validation with the averaged weights, under their own
/// names, and with the raw weights, under "raw_" and the name; a preview with the averaged weights;
/// "observation_pause", the seconds it all took. Where nothing is due there are no figures. The model is in evaluation
/// mode meanwhile, and afterwards as it was, bit for bit. Collective.
Observation observe(const TrainingTask& task, torch::nn::Module& model, const NamedTensors& averages, std::int64_t done,
                    std::int64_t steps);

}  // namespace couplet
