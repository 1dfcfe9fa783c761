#include "stages/data/seen_rows.h"

#include "method/data/latent_script.h"
#include "method/data/latents.h"
#include "stages/data/run_source.h"
#include "storage/error.h"
#include "storage/filesystem.h"

#include <fmt/ranges.h>

#include <map>
#include <string>
#include <tuple>

namespace couplet {
namespace {

using Shape = std::vector<std::int64_t>;

/// What trying a program on a shape gave, one way or the other: once a process.
Shape tried_shape(const std::filesystem::path& program, const std::string& range,
                  Shape (LatentScript::*way)(const Shape&) const, const Shape& shape) {
  static std::map<std::tuple<std::string, std::string, bool, Shape>, Shape> tried;
  const auto key = std::tuple(program.string(), range, way == &LatentScript::pixel_shape, shape);
  if (const auto found = tried.find(key); found != tried.end()) return found->second;
  return tried[key] = (LatentScript(program, range, c10::kCPU).*way)(shape);
}

void require_numbers(const char* key, const std::vector<double>& numbers, std::int64_t channels) {
  if (numbers.size() == 1 || std::ssize(numbers) == channels) return;
  refuse("{} = {}: one number, or one for each of the {} channels of the latents", key, fmt::join(numbers, " "),
         channels);
}

}  // namespace

bool has_latents(const Config& config) {
  return config.latents.codec == "autoencoder" || config.latents.codec == "script";
}

bool encodes_images(const Config& config) {
  return has_latents(config) && stored_codec(config.prepare) != "latent";
}

std::string seen_rows_node(const Config& config) {
  return encodes_images(config) ? "latents" : "prepare";
}

std::filesystem::path seen_rows(const Config& config, const RunDirectory& run, const std::string& split) {
  if (encodes_images(config)) return run.latents(split);
  return split == "train" ? run.train_images() : run.test_images();
}

std::filesystem::path latent_script(const Config& config, const RunDirectory& run) {
  const std::filesystem::path program =
      config.latents.codec == "autoencoder" ? run.autoencoder_codec() : std::filesystem::path(config.latents.file);
  const std::filesystem::path kept = run.stage(seen_rows_node(config)) / latent_script_name;
  return !is_there(program) && is_there(kept) ? kept : program;
}

std::vector<std::int64_t> latent_shape(const Config& config, const RunDirectory& run,
                                       const std::vector<std::int64_t>& pixel_shape) {
  const LatentsConfig& latents = config.latents;
  const std::vector<std::int64_t> shape =
      latents.codec == "autoencoder"
          ? std::vector<std::int64_t>{config.autoencoder.latent_channels, pixel_shape[1] / config.autoencoder.factor,
                                      pixel_shape[2] / config.autoencoder.factor}
          : tried_shape(latent_script(config, run), latents.range, &LatentScript::latent_shape, pixel_shape);
  require_channels(latents, shape[0]);
  return shape;
}

void require_channels(const LatentsConfig& config, std::int64_t channels) {
  require_numbers("latents.scale", config.scale, channels);
  require_numbers("latents.shift", config.shift, channels);
}

std::vector<std::int64_t> latent_pixels(const Config& config, const RunDirectory& run,
                                        const std::vector<std::int64_t>& latent_shape) {
  require_channels(config.latents, latent_shape[0]);
  return tried_shape(latent_script(config, run), config.latents.range, &LatentScript::pixel_shape, latent_shape);
}

}  // namespace couplet
