// The rows that a run's models are trained on: its prepared images, or latents of them.
#pragma once

#include "pipeline/config/config.h"
#include "pipeline/run/run_directory.h"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace couplet {

/// Models see latents ([latents]).
bool has_latents(const Config& config);
/// The stage `latents` makes them, of the prepared images. Else latents that were made elsewhere are what is prepared.
bool encodes_images(const Config& config);
/// The stage that publishes what models see.
std::string seen_rows_node(const Config& config);
/// The table of it: of the training images ("train"), or of the held-out ones ("test").
std::filesystem::path seen_rows(const Config& config, const RunDirectory& run, const std::string& split);

/// The program that makes the run's latents: that of its own autoencoder, or latents.file; where that is gone, the copy
/// that lies beside the latents.
std::filesystem::path latent_script(const Config& config, const RunDirectory& run);
/// [C, h, w] of the latents of images of this shape: by the configuration of the run's own autoencoder, or by trying
/// the program. Refuses a program that does not fit, and numbers for another count of channels.
std::vector<std::int64_t> latent_shape(const Config& config, const RunDirectory& run,
                                       const std::vector<std::int64_t>& pixel_shape);
/// Refuses latents.scale and latents.shift for another count of channels.
void require_channels(const LatentsConfig& config, std::int64_t channels);
/// [C, H, W] of the images of latents of this shape, which were made elsewhere: by trying the program. Refuses what
/// `latent_shape` does.
std::vector<std::int64_t> latent_pixels(const Config& config, const RunDirectory& run,
                                        const std::vector<std::int64_t>& latent_shape);

}  // namespace couplet
