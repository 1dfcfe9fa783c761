#include "method/data/latents.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

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

std::optional<UnfitLatent> unfit_latent(const at::Tensor& rows) {
  const std::int64_t channels = rows.size(1) / 2;
  const at::Tensor values = rows.to(at::kFloat), deviations = values.narrow(1, channels, channels);
  const at::Tensor fits = values.flatten(1).isfinite().all(1) & deviations.flatten(1).ge(0).all(1);
  const at::Tensor unfit = fits.logical_not().nonzero();
  if (unfit.numel() == 0) return std::nullopt;
  const auto row = unfit[0][0].item<std::int64_t>();
  if (values[row].isnan().any().item<bool>()) return UnfitLatent{row, "holds NaN"};
  if (values[row].isinf().any().item<bool>()) return UnfitLatent{row, "holds values that float16 cannot (above 65504)"};
  return UnfitLatent{
      row, fmt::format("has the standard deviation {:.4g}, which is below 0", deviations[row].min().item<double>())};
}

}  // namespace couplet
