#include "stages/data/seen_rows.h"

#include "method/data/latent_script.h"
#include "storage/error.h"
#include "storage/filesystem.h"

#include <fmt/ranges.h>

#include <map>
#include <utility>

namespace couplet {
namespace {

/// What trying a program on images of a shape gave: once a process.
std::vector<std::int64_t> tried_shape(const std::filesystem::path& program, const std::string& range,
                                      const std::vector<std::int64_t>& pixel_shape) {
  static std::map<std::pair<std::string, std::vector<std::int64_t>>, std::vector<std::int64_t>> tried;
  const auto key = std::pair(program.string() + "\n" + range, pixel_shape);
  if (const auto found = tried.find(key); found != tried.end()) return found->second;
  return tried[key] = LatentScript(program, range, c10::kCPU).latent_shape(pixel_shape);
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
  const std::filesystem::path program =
      config.latents.codec == "autoencoder" ? run.autoencoder_codec() : std::filesystem::path(config.latents.file);
  const std::filesystem::path kept = run.stage("latents") / latent_script_name;
  return !is_there(program) && is_there(kept) ? kept : program;
}

std::vector<std::int64_t> latent_shape(const Config& config, const RunDirectory& run,
                                       const std::vector<std::int64_t>& pixel_shape) {
  const LatentsConfig& latents = config.latents;
  const std::vector<std::int64_t> shape =
      latents.codec == "autoencoder"
          ? std::vector<std::int64_t>{config.autoencoder.latent_channels, pixel_shape[1] / config.autoencoder.factor,
                                      pixel_shape[2] / config.autoencoder.factor}
          : tried_shape(latent_script(config, run), latents.range, pixel_shape);
  require_channels(latents, shape[0]);
  return shape;
}

void require_channels(const LatentsConfig& config, std::int64_t channels) {
  require_numbers("latents.scale", config.scale, channels);
  require_numbers("latents.shift", config.shift, channels);
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
