// The keys of [autoencoder].
#include "pipeline/config/options_table.h"

namespace couplet::option_sections {

void add_autoencoder(std::vector<Option>& table) {
  table.insert(
      table.end(),
      {{"autoencoder.factor", result, FIELD(autoencoder.factor), "4", "",
        "how many times smaller the sides of a latent are than those of an image: a power of two", 2, 64},
       {"autoencoder.channels", result, FIELD(autoencoder.channels), "16", "",
        "channels of the first level, a multiple of 4; each halving of the sides doubles them, up to four times", 4,
        4096},
       {"autoencoder.latent-channels", result, FIELD(autoencoder.latent_channels), "4", "", "channels of a latent", 1,
        4096},
       {"autoencoder.kl", result, FIELD(autoencoder.kl), "1e-06", "",
        "weight of the divergence of an image's latent from N(0, I) against the squared error of its pixels, both "
        "summed; 0: a plain autoencoder, whose latents have no deviation",
        0, 1e6}});
  add_training(table, "autoencoder", [](Config& config) -> TrainingConfig& { return config.autoencoder.training; },
               {.images = 80000,
                .batch = 64,
                .learning_rate = 2e-3,
                .final_learning_rate = 1e-6,
                .warmup = 100,
                .weight_decay = 1e-4,
                .clip = 1,
                .ema = {0.995},
                .precision = "float32",
                .validate_every = 500,
                .validate_rows = 500});
}

}  // namespace couplet::option_sections
