// The keys of [noise-classifier].
#include "pipeline/config/options_table.h"

namespace couplet::option_sections {

void add_noise_classifier(std::vector<Option>& table) {
  table.insert(table.end(),
               {{"noise-classifier.channels", result, FIELD(noise_classifier.channels), "16", "",
                 "channels of the first convolution; each further one has twice as many, at half the size", 1, 4096}});
  add_training(table, "noise-classifier",
               [](Config& config) -> TrainingConfig& { return config.noise_classifier.training; },
               {.images = 100000,
                .batch = 128,
                .learning_rate = 1e-3,
                .final_learning_rate = 1e-6,
                .warmup = 100,
                .weight_decay = 1e-2,
                .clip = 1,
                .ema = {0.99},
                .precision = "float32",
                .validate_every = 200,
                .validate_rows = 2000});
}

}  // namespace couplet::option_sections
