// The program of a run's latents, where data sets keep it, and the form in which they hold latents.
#pragma once

#include "method/data/latents.h"
#include "pipeline/config/config.h"
#include "pipeline/distributed/communicator.h"
#include "pipeline/run/run_directory.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace couplet {

/// Copies the program into the folder of the tables of both splits, from where pixels are made of latents ever after.
/// Returns where it lies. Collective.
std::filesystem::path keep_latent_script(const Config& config, const RunDirectory& run,
                                         const std::filesystem::path& directory, Communicator& communicator);

/// The training rows, by the first of which a scale is measured.
struct MeasuredLatents {
  std::string what;  ///< in messages
  std::int64_t rows = 0;
  /// Means, then deviations, of rows [first, first + count): [count, 2 C, h, w].
  std::function<at::Tensor(std::int64_t first, std::int64_t count)> read;
};

/// The form of latents of such images, of the program that was kept. Where latents.scale is 0, one rank measures it.
/// Collective.
LatentForm latent_form(const Config& config, const std::filesystem::path& script,
                       const std::vector<std::int64_t>& pixel_shape, const MeasuredLatents& measured,
                       Communicator& communicator);

}  // namespace couplet
