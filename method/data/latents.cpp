#include "method/data/latents.h"

namespace couplet {

nlohmann::json to_json(const LatentForm& form) {
  return {{"script", form.script_hash}, {"range", form.pixel_range},  {"scale", form.scale}, {"shift", form.shift},
          {"drawn", form.is_drawn},     {"pixels", form.pixel_shape}, {"seed", form.seed}};
}

LatentForm latent_form(const nlohmann::json& json) {
  return {.script_hash = json.at("script").get<std::string>(),
          .pixel_range = json.at("range").get<std::string>(),
          .scale = json.at("scale").get<std::vector<double>>(),
          .shift = json.at("shift").get<std::vector<double>>(),
          .is_drawn = json.at("drawn").get<bool>(),
          .seed = json.at("seed").get<std::uint64_t>(),
          .pixel_shape = json.at("pixels").get<std::vector<std::int64_t>>()};
}

}  // namespace couplet
