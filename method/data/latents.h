// How a data set holds latents (method/data/codecs/latent.cpp; docs/latents.md).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace couplet {

/// The program of the latents, beside the folders of both splits.
inline constexpr char latent_script_name[] = "codec.pt";

/// Of a row's mean and deviation, models see x = scale · (mean + deviation · ε - shift), rounded to float16.
struct LatentForm {
  std::string script_hash;                ///< of the program's bytes
  std::string pixel_range;                ///< what it takes and gives (method/data/latent_script.h)
  std::vector<double> scale, shift;       ///< one number, or one a channel
  bool is_drawn = true;                   ///< ε is standard normal; false: 0
  std::uint64_t seed = 0;                 ///< of ε
  std::vector<std::int64_t> pixel_shape;  ///< [C, H, W] of the images
};

/// What a table's provenance holds as "latent".
nlohmann::json to_json(const LatentForm& form);
/// An error of the JSON library where something is missing: the provenance is ours.
LatentForm latent_form(const nlohmann::json& json);

/// A row that no data set can hold.
struct UnfitLatent {
  std::int64_t row = 0;
  std::string what;  ///< "holds NaN", for messages
};
/// The first of rows of means and deviations, float16 [n, 2 C, h, w], that has values which are not finite (in
/// float16), or deviations below 0.
std::optional<UnfitLatent> unfit_latent(const at::Tensor& rows);

}  // namespace couplet
