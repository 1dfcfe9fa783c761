// One round of training for a benchmark: a preset's model, so many images, through the project's own `train`.
#pragma once

#include "bench/bench_directory.h"
#include "bench/comparison.h"
#include "bench/synthetic_training.h"
#include "pipeline/config/options.h"
#include "pipeline/distributed/communicator.h"
#include "pipeline/process/log.h"
#include "pipeline/training/trainer.h"
#include "storage/files/atomic_file.h"

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace couplet {

inline const std::string bench_preset = COUPLET_SOURCE_DIR "/configs/fashion.ini";
inline constexpr std::int64_t bench_rows = 4096;

/// A training that is measured.
struct TrainingBench {
  std::string name, stage;
  std::vector<Setting> settings = {};  ///< beside the preset's
};

/// The preset's teacher, student and classifier, and its student with a U-Net.
inline std::vector<TrainingBench> training_benches() {
  return {{"teacher", "teacher"},
          {"student", "student"},
          {"features", "features"},
          {"unet",
           "student",
           {{"student.network", "unet", "bench"},
            {"student.channels", "32", "bench"},
            {"student.multipliers", "1 2 2", "bench"},
            {"student.blocks", "2", "bench"},
            {"student.attention", "2", "bench"},
            {"student.heads", "2", "bench"}}}};
}

/// The settings of a stage's training within those of the run.
template <class SomeConfig>
auto& training_of(const std::string& stage, SomeConfig&& config) {
  if (stage == "features") return config.features.training;
  return stage == "teacher" ? config.teacher.training : config.student.training;
}

/// The preset, trained for so many steps with no checkpoint on the way.
inline Config bench_config(const std::string& stage, std::int64_t steps, std::vector<Setting> settings) {
  settings.push_back({"pipeline.checkpoint-every", "1000000000", "bench"});
  settings.push_back({"pipeline.log-every", "3600", "bench"});
  Config config = resolve_config(bench_preset, settings);
  TrainingConfig& training = training_of(stage, config);
  training.images = steps * training.batch;
  return config;
}

/// Trains from first weights in a directory that is emptied first, and returns the images a second of all ranks, what
/// `train` does before its first step and after its last included. `change` makes the task another one first.
inline double training_rate(const std::string& stage, const Config& config, const SyntheticRows& rows,
                            const fs::path& directory, Communicator& communicator,
                            const std::function<void(TrainingTask&)>& change = {}) {
  if (communicator.is_root()) {
    fs::remove_all(directory);
    fs::create_directories(directory);
  }
  communicator.barrier();
  SyntheticTraining training = synthetic_training(stage, config, rows, directory);
  if (change) change(training.task);
  const double seconds = seconds_of([&] {
    train(training.task, *training.model, config.pipeline, communicator, at::kCPU);
    communicator.barrier();
  });
  return static_cast<double>(training_of(stage, config).images) / seconds;
}

}  // namespace couplet
