#include "stages/data/seen_rows.h"

#include "method/data/latent_script.h"
#include "storage/error.h"

#include <fmt/ranges.h>

#include <map>
#include <utility>

namespace couplet {
namespace {

/// What trying a program on images of a shape gave: once a process.
std::vector<std::int64_t> tried_shape(const LatentsConfig& config, const std::vector<std::int64_t>& pixel_shape) {
  static std::map<std::pair<std::string, std::vector<std::int64_t>>, std::vector<std::int64_t>> tried;
  const auto key = std::pair(config.file + "\n" + config.range, pixel_shape);
  if (const auto found = tried.find(key); found != tried.end()) return found->second;
  return tried[key] = LatentScript(config.file, config.range, c10::kCPU).latent_shape(pixel_shape);
}

void require_numbers(const char* key, const std::vector<double>& numbers, std::int64_t channels) {
  if (numbers.size() == 1 || std::ssize(numbers) == channels) return;
  refuse("{} = {}: one number, or one for each of the {} channels of the latents", key, fmt::join(numbers, " "),
         channels);
}

}  // namespace

bool has_latents(const Config& config) {
  return config.latents.codec != "none";
}

std::string seen_rows_node(const Config& config) {
  return has_latents(config) ? "latents" : "prepare";
}

std::filesystem::path seen_rows(const Config& config, const RunDirectory& run, const std::string& split) {
  if (has_latents(config)) return run.latents(split);
  return split == "train" ? run.train_images() : run.test_images();
}

std::filesystem::path latent_script(const Config& config, const RunDirectory& run) {
  return config.latents.codec == "autoencoder" ? run.autoencoder_codec() : std::filesystem::path(config.latents.file);
}

std::vector<std::int64_t> latent_shape(const Config& config, const RunDirectory&,
                                       const std::vector<std::int64_t>& pixel_shape) {
  const LatentsConfig& latents = config.latents;
  const std::vector<std::int64_t> shape =
      latents.codec == "autoencoder"
          ? std::vector<std::int64_t>{config.autoencoder.latent_channels, pixel_shape[1] / config.autoencoder.factor,
                                      pixel_shape[2] / config.autoencoder.factor}
          : tried_shape(latents, pixel_shape);
  require_numbers("latents.scale", latents.scale, shape[0]);
  require_numbers("latents.shift", latents.shift, shape[0]);
  return shape;
}

LatentForm latent_form(const Config& config, const std::vector<std::int64_t>& pixel_shape) {
  return {.script_hash = "",
          .pixel_range = config.latents.range,
          .scale = config.latents.scale,
          .shift = config.latents.shift,
          .is_drawn = config.latents.draw == "sample",
          .seed = static_cast<std::uint64_t>(config.pipeline.seed),
          .pixel_shape = pixel_shape};
}

}  // namespace couplet
