// The models of a configuration, trained by the project's own `train` from rows that lie in memory: nothing is read, so
// that what is measured or compared is the training itself.
#pragma once

#include "method/data/dataset.h"
#include "pipeline/config/config.h"
#include "pipeline/training/task.h"

#include <filesystem>
#include <memory>
#include <string>

namespace couplet {

/// Rows of a made-up data set of Fashion-MNIST's shape.
struct SyntheticRows {
  DatasetShape shape;
  at::Tensor images;  ///< uint8 [N, 1, size, size]: smooth shades, another for each row
  at::Tensor noise;   ///< float16 [N, 1, size, size]: the z that a coupling table would hold
  at::Tensor labels;  ///< int64 [N]
};
SyntheticRows synthetic_rows(std::int64_t count, std::int64_t size = 28);

struct SyntheticTraining {
  std::shared_ptr<torch::nn::Module> model;
  TrainingTask task;
};
/// The teacher, student or classifier ("teacher", "student", "features") of `config` on these rows, taken in turn; batches and loss as in its
/// stage. Teacher: {noised images, labels, negative where dropped}. Student: {images, z, t, labels, the number of
/// classes where dropped}.
SyntheticTraining synthetic_training(const std::string& stage, const Config& config, const SyntheticRows& rows,
                                     const std::filesystem::path& directory);

}  // namespace couplet
