// The program of a run's latents, where data sets keep it, and the form in which they hold latents.
#pragma once

#include "method/data/latents.h"
#include "pipeline/run/stage_context.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace couplet {

/// Copies the program into the stage's directory, beside the tables of both splits, from where pixels are made of
/// latents ever after. Where latents.file is gone, a copy of it that lies there already does. Returns where it lies.
/// Collective.
std::filesystem::path keep_latent_script(const StageContext& context);

/// The training rows, some of which a scale is measured by.
struct MeasuredLatents {
  std::string what, hash;  ///< in messages; of their content
  std::int64_t rows = 0;
  /// Means, then deviations, of these rows, which ascend: [n, 2 C, h, w].
  std::function<at::Tensor(const std::vector<std::int64_t>& rows)> read;
};

/// The form of latents of such images, of the program that was kept. Where latents.scale is 0, one rank measures it,
/// once: it is kept in the stage's directory as scale.json, so that shards of one table have one scale, whatever device
/// or machine goes on with them. Collective.
LatentForm latent_form(const StageContext& context, const std::filesystem::path& script,
                       const std::vector<std::int64_t>& pixel_shape, const MeasuredLatents& measured);

}  // namespace couplet
