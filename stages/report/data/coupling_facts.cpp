#include "stages/report/data/coupling_facts.h"

#include "method/data/images.h"
#include "method/statistics/coupling_statistics.h"
#include "method/tables/coupling_table.h"
#include "method/tables/seeds_table.h"
#include "pipeline/loader/table_rows.h"
#include "pipeline/tensor/tensor_bytes.h"
#include "storage/error.h"
#include "storage/formats/picture.h"
#include "storage/tables/filenames.h"
#include "storage/text.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

namespace couplet {

namespace {

constexpr std::int64_t values_read = 1 << 23, rows_at_once = 256;
constexpr std::int64_t pictured_rows = 24, pictured_across = 6;
constexpr std::int64_t bins = 60;
constexpr double widest = 4;  // standard deviations on either side that the histogram covers

using Json = nlohmann::ordered_json;

/// A number as it is and as people read it; both null where there is none that is finite.
Json figure_or_nothing(const nlohmann::json& number) {
  const bool finite = number.is_number() && std::isfinite(number.get<double>());
  if (!finite) return {{"value", nullptr}, {"text", nullptr}};
  return {{"value", number}, {"text", number.is_number_float() ? number_text(number.get<double>()) : number.dump()}};
}

void add_manifest(CouplingFacts& shown, const nlohmann::json& manifest) {
  const std::size_t shards = manifest.at("shards").size();
  shown.facts.push_back(
      {{"kind", "rows"}, {"rows", manifest.at("rows")}, {"shards", shards}, {"one_shard", shards == 1}});
  const nlohmann::json& summary = manifest.at("summary");
  if (!summary.is_object()) return;
  for (const char* name : {"nonfinite_rows", "sigma_f", "nll_mean"})
    if (summary.contains(name)) shown.facts.push_back({{"kind", name}, {"figure", figure_or_nothing(summary[name])}});
  if (!summary.contains("round_trip_mean")) return;
  shown.facts.push_back({{"kind", "round_trip"},
                         {"mean", figure_or_nothing(summary["round_trip_mean"])},
                         {"largest", figure_or_nothing(summary.value("round_trip_max", nlohmann::json()))},
                         {"rows", figure_or_nothing(summary.value("round_trip_rows", nlohmann::json()))}});
}

/// Figures of the first `rows` of `all` rows.
void add_statistics(CouplingFacts& shown, const nlohmann::json& found, std::int64_t rows, std::int64_t all) {
  const auto number = [&](const char* pointer) {
    return figure_or_nothing(found.at(nlohmann::json::json_pointer(pointer)));
  };
  if (rows < all) shown.facts.push_back({{"kind", "first_rows"}, {"rows", rows}});
  shown.facts.push_back({{"kind", "noise"},
                         {"mean", number("/noise/mean")},
                         {"variance", number("/noise/variance")},
                         {"skewness", number("/noise/skewness")},
                         {"excess_kurtosis", number("/noise/excess_kurtosis")}});
  shown.facts.push_back({{"kind", "correlation"},
                         {"horizontal", number("/correlation/horizontal")},
                         {"vertical", number("/correlation/vertical")}});
  shown.facts.push_back({{"kind", "normal_values"},
                         {"statistic", number("/normality/values/statistic")},
                         {"p_value", number("/normality/values/p_value")}});
  shown.facts.push_back({{"kind", "normal_rows"},
                         {"largest", number("/normality/projections/largest_statistic")},
                         {"projections", number("/normality/projections/projections")}});
  shown.facts.push_back({{"kind", "transport_cost"},
                         {"mean", number("/transport_cost/mean")},
                         {"independent_noise", number("/transport_cost/independent_noise")}});
}

/// Density of z over equal bins, of all finite values.
Points density(const at::Tensor& counts, double values) {
  Points points;
  const double bin = 2 * widest / static_cast<double>(bins);
  for (std::int64_t i = 0; i < bins; ++i)
    points.emplace_back(-widest + bin * (static_cast<double>(i) + 0.5), counts[i].item<double>() / values / bin);
  return points;
}

/// Noise as a picture of the pixels' shape: of its first channels, each value as large as the pixels that it is of.
at::Tensor noise_beside(const at::Tensor& pixels, const at::Tensor& z) {
  const std::int64_t channels = z.size(1) < pixels.size(1) ? 1 : pixels.size(1);
  const at::Tensor picture = noise_picture(z.narrow(1, 0, channels));
  return at::upsample_nearest2d(picture, {pixels.size(2), pixels.size(3)}).expand(pixels.sizes());
}

/// Images of table rows, each beside its noise. Latents become pixels by their program, which may be gone.
void add_picture(CouplingFacts& shown, const at::Tensor& image, const at::Tensor& z, const Codec& codec) {
  const std::int64_t channels = codec.pixel_shape(image.sizes().slice(1).vec()).front();
  if (channels != 1 && channels != 3) return;
  try {
    const at::Tensor pixels = image_pixels(image, codec);
    const at::Tensor pairs = at::stack({pixels, noise_beside(pixels, z)}, 1);
    shown.picture = encode_png(picture_of(pairs.flatten(0, 1), 2 * pictured_across));
    shown.pictured_rows = image.size(0);
  } catch (const Error& error) {
    shown.facts.push_back({{"kind", "unreadable"}, {"reason", error.what()}});
  }
}

void add_rows(CouplingFacts& shown, const RowTable& table, const Codec& codec) {
  if (!CouplingStatistics::apply_to(table.columns())) return;
  const nlohmann::json& manifest_sigma = table.summary().value("sigma_f", nlohmann::json());
  const double sigma = manifest_sigma.is_number() ? manifest_sigma.get<double>() : 1;
  std::int64_t row_values = 1;
  for (const std::int64_t size : table.columns().at(table.column("noise")).shape) row_values *= size;
  const std::int64_t rows = std::min(table.rows(), std::max(pictured_rows, values_read / row_values));
  CouplingStatistics statistics(table.columns(), rows);
  at::Tensor counts = at::zeros({bins}, at::kDouble);
  double values = 0;
  for (std::int64_t first = 0; first < rows; first += rows_at_once) {
    const std::int64_t count = std::min(rows_at_once, rows - first);
    const at::Tensor noise = read_rows(table, "noise", first, count), image = read_rows(table, "image", first, count);
    statistics.add(bytes_of(noise), bytes_of(image));
    const at::Tensor z = noise.to(at::kFloat) / sigma;
    counts += at::histc(z, bins, -widest, widest).to(at::kDouble);
    values += z.isfinite().sum().item<double>();
    if (first > 0) continue;
    const std::int64_t pictured = std::min(pictured_rows, count);
    add_picture(shown, image.narrow(0, 0, pictured), z.narrow(0, 0, pictured), codec);
  }
  add_statistics(shown, statistics.to_json(sigma), rows, table.rows());
  if (values > 0) shown.noise = density(counts, values);
}

}  // namespace

std::optional<CouplingFacts> read_coupling_facts(const std::filesystem::path& table, const Codec& codec) {
  if (!std::filesystem::exists(table / manifest_name)) return std::nullopt;
  const at::NoGradGuard no_grad;
  CouplingFacts shown;
  try {
    const nlohmann::json manifest = load_manifest(table, "");
    shown.name = manifest.at("provenance").value("kind", "pairs");
    shown.held_out = manifest.at("provenance").value("split", "") == "test";
    add_manifest(shown, manifest);
    if (manifest.at("format") != seeds_format) add_rows(shown, RowTable(table, coupling_format), codec);
  } catch (const Error& error) {
    if (shown.name.empty()) shown.name = table.filename().string();
    shown.facts.push_back({{"kind", "unreadable"}, {"reason", error.what()}});
  }
  return shown;
}

}  // namespace couplet
