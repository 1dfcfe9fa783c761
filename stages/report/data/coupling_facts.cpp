#include "stages/report/data/coupling_facts.h"

#include "method/couplings/coupling_table.h"
#include "method/data/images.h"
#include "method/statistics/coupling_statistics.h"
#include "pipeline/loader/table_rows.h"
#include "pipeline/tensor/tensor_bytes.h"
#include "storage/error.h"
#include "storage/formats/picture.h"
#include "storage/tables/filenames.h"
#include "storage/text.h"

#include <fmt/format.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <span>

namespace couplet {

namespace {

constexpr std::int64_t values_read = 1 << 23, rows_at_once = 256;
constexpr std::int64_t pictured_rows = 24, pictured_across = 6;
constexpr std::int64_t bins = 60;
constexpr double widest = 4;  // standard deviations on either side that the histogram covers

void add_manifest(CouplingFacts& shown, const nlohmann::json& manifest) {
  const nlohmann::json& summary = manifest.at("summary");
  const auto add = [&](const std::string& name, const std::string& text) { shown.facts.push_back({name, text}); };
  const auto figure = [&](const char* name) {
    const auto found = summary.find(name);
    return found != summary.end() && found->is_number() ? number_text(found->get<double>()) : std::string("?");
  };
  const std::size_t shards = manifest.at("shards").size();
  add("rows", fmt::format("{} in {} shard{}", manifest.at("rows").get<std::int64_t>(), shards, shards == 1 ? "" : "s"));
  if (!summary.is_object()) return;
  if (summary.contains("nonfinite_rows")) add("rows that are not finite", summary["nonfinite_rows"].dump());
  if (summary.contains("sigma_f")) add("σ_f, root mean square of f(x)", figure("sigma_f"));
  if (summary.contains("nll_mean")) add("negative log-likelihood, nats a value", figure("nll_mean"));
  if (summary.contains("round_trip_mean")) {
    add("round trip, ‖f⁻¹(f(x)) - x‖", fmt::format("mean {}, largest {}, of {} rows", figure("round_trip_mean"),
                                                   figure("round_trip_max"), summary["round_trip_rows"].dump()));
  }
}

void add_statistics(CouplingFacts& shown, const nlohmann::ordered_json& found, std::int64_t rows, std::int64_t all) {
  const auto number = [&](const char* pointer) {
    const auto& value = found.at(nlohmann::ordered_json::json_pointer(pointer));
    return value.is_number() ? number_text(value.get<double>()) : std::string("not finite");
  };
  const auto add = [&](const std::string& name, const std::string& text) { shown.facts.push_back({name, text}); };
  if (rows < all) add("all that follows", fmt::format("of the first {} rows", rows));
  add("noise as stored",
      fmt::format("mean {}, variance {}, skewness {}, excess kurtosis {}", number("/noise/mean"),
                  number("/noise/variance"), number("/noise/skewness"), number("/noise/excess_kurtosis")));
  add("correlation of neighbours",
      fmt::format("horizontal {}, vertical {}", number("/correlation/horizontal"), number("/correlation/vertical")));
  add("normal values?", fmt::format("Kolmogorov-Smirnov D {}, p {}", number("/normality/values/statistic"),
                                    number("/normality/values/p_value")));
  add("normal rows?",
      fmt::format("largest D {} of {} random projections", number("/normality/projections/largest_statistic"),
                  found.at("normality").at("projections").at("projections").dump()));
  add("transport cost, E‖z - x‖²", fmt::format("{}; of independent noise {}", number("/transport_cost/mean"),
                                               number("/transport_cost/independent_noise")));
}

/// Density of z over equal bins, of all finite values.
Points density(const at::Tensor& counts, double values) {
  Points points;
  const double bin = 2 * widest / static_cast<double>(bins);
  for (std::int64_t i = 0; i < bins; ++i)
    points.emplace_back(-widest + bin * (static_cast<double>(i) + 0.5), counts[i].item<double>() / values / bin);
  return points;
}

void add_rows(CouplingFacts& shown, const RowTable& table) {
  if (!CouplingStatistics::apply_to(table.columns())) return;
  const nlohmann::json& manifest_sigma = table.summary().value("sigma_f", nlohmann::json());
  const double sigma = manifest_sigma.is_number() ? manifest_sigma.get<double>() : 1;
  std::int64_t row_values = 1;
  for (const std::int64_t size : table.columns().at(table.column("noise")).shape) row_values *= size;
  const std::int64_t rows = std::min(table.rows(), std::max(pictured_rows, values_read / row_values));
  CouplingStatistics statistics(table.columns(), rows);
  at::Tensor counts = torch::zeros({bins}, torch::kFloat64);
  double values = 0;
  for (std::int64_t first = 0; first < rows; first += rows_at_once) {
    const std::int64_t count = std::min(rows_at_once, rows - first);
    const at::Tensor noise = read_rows(table, "noise", first, count), image = read_rows(table, "image", first, count);
    statistics.add(bytes_of(noise), bytes_of(image));
    const at::Tensor z = noise.to(torch::kFloat32) / sigma;
    counts += torch::histc(z, bins, -widest, widest).to(torch::kFloat64);
    values += z.isfinite().sum().item<double>();
    const std::int64_t pictured = std::min(pictured_rows, count);
    if (first > 0 || (image.size(1) != 1 && image.size(1) != 3)) continue;
    shown.pictured_rows = pictured;
    const at::Tensor pairs = torch::stack({image.narrow(0, 0, pictured), noise_picture(z.narrow(0, 0, pictured))}, 1);
    shown.picture = encode_png(picture_of(pairs.flatten(0, 1), 2 * pictured_across));
  }
  add_statistics(shown, statistics.to_json(sigma), rows, table.rows());
  if (values > 0) shown.noise = density(counts, values);
}

}  // namespace

std::optional<CouplingFacts> read_coupling_facts(const std::filesystem::path& table) {
  if (!std::filesystem::exists(table / manifest_name)) return std::nullopt;
  const torch::NoGradGuard no_grad;
  CouplingFacts shown;
  try {
    const nlohmann::json manifest = load_manifest(table, coupling_format);
    shown.title = fmt::format("{}, {} images", manifest.at("provenance").value("kind", "pairs"),
                              manifest.at("provenance").value("split", "") == "test" ? "held-out" : "training");
    add_manifest(shown, manifest);
    add_rows(shown, RowTable(table, coupling_format));
  } catch (const Error& error) {
    if (shown.title.empty()) shown.title = table.filename().string();
    shown.facts.push_back({"not all of it can be read", error.what()});
  }
  return shown;
}

}  // namespace couplet
