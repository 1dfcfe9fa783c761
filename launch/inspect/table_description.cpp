#include "launch/inspect/table_description.h"

#include "launch/inspect/dataset_description.h"
#include "launch/inspect/noise_description.h"
#include "launch/inspect/pair_sample.h"
#include "method/statistics/column_statistics.h"
#include "method/statistics/coupling_statistics.h"
#include "method/statistics/scalar_statistics.h"
#include "method/tables/coupling_table.h"
#include "storage/text.h"

#include <fmt/ranges.h>

namespace couplet {

namespace {

using Json = nlohmann::ordered_json;

Json describe_header(const RowSource& source) {
  Json json{{"path", utf8_text(source.path().string())},
            {"format", source.format()},
            {"format_version", source.format_version()},
            {"rows", source.rows()}};
  if (source.is_table()) {
    const ShardPlan& plan = source.table().plan();
    json["shards"] = plan.shards();
    json["shard_rows"] = plan.shard_rows;
    std::uintmax_t bytes = 0;
    for (const auto& shard : source.table().manifest().at("shards")) bytes += shard.at("bytes").get<std::uintmax_t>();
    json["bytes"] = bytes;
  } else {
    json["first_row"] = source.first_row();
    json["bytes"] = source.shard_of(0)->file().size();
  }
  json["block_rows"] = source.block_rows();
  json["provenance"] = source.provenance();
  json["summary"] = source.summary();
  return json;
}

/// Hands the rows of all columns to the columns' statistics and, where there are couplings, to theirs and to the sample
/// by which they are judged; those of a data set to its description.
void read_rows(const RowSource& source, std::vector<ColumnStatistics>& statistics,
               std::optional<CouplingStatistics>& couplings, std::optional<PairSample>& pairs,
               std::optional<DatasetDescription>& dataset) {
  const std::vector<Column>& columns = source.columns();
  std::vector<std::vector<std::byte>> bytes(columns.size());
  const std::int64_t rows_at_once = source.rows_at_once();
  for (std::int64_t first = 0; first < source.rows(); first += rows_at_once) {
    const std::int64_t count = std::min(rows_at_once, source.rows() - first);
    for (std::size_t i = 0; i < columns.size(); ++i) {
      bytes[i].resize(static_cast<std::size_t>(count) * columns[i].row_bytes());
      source.read(i, first, count, bytes[i]);
      statistics[i].add(bytes[i]);
    }
    if (couplings) couplings->add(bytes[*source.find("noise")], bytes[*source.find("image")]);
    if (pairs) pairs->add(bytes[*source.find("noise")], bytes[*source.find("image")], bytes[*source.find("label")]);
    if (dataset) dataset->add(bytes[*source.find("image")], bytes[*source.find("label")]);
  }
}

Json describe_column(const Column& column, std::int64_t rows, const ColumnStatistics& statistics) {
  Json json{{"name", column.name},
            {"type", std::string(element_name(column.type))},
            {"shape", column.shape},
            {"bytes", static_cast<std::uint64_t>(rows) * column.row_bytes()},
            {"meaning", column.meaning}};
  json.update(statistics.to_json());
  return json;
}

void add_scalars(Json& json, const RowSource& source, const std::string& name, double least) {
  const auto column = source.find(name);
  if (!column || source.columns()[*column].type != ElementType::float32 || !source.columns()[*column].shape.empty())
    return;
  const auto read = [&, column](std::int64_t first, std::int64_t count, std::span<float> out) {
    source.read(*column, first, count, std::as_writable_bytes(out));
  };
  json[name] = describe_scalars({source.rows(), read}, least);
}

std::optional<double> manifest_sigma(const RowSource& source) {
  return source.is_table() ? source.sigma_f() : std::nullopt;
}

Json describe_couplings(const RowSource& source, const CouplingStatistics& statistics) {
  Json json = statistics.to_json(manifest_sigma(source));
  add_scalars(json, source, "nll", -std::numeric_limits<double>::infinity());
  static_assert(not_measured < 0);
  add_scalars(json, source, "round_trip", 0);
  return json;
}

void print_column(const Json& column) {
  const auto shape = column.at("shape").get<std::vector<std::int64_t>>();
  fmt::print("  {:<12} {:<8} {:<14} {}\n", column.at("name").get<std::string>(), column.at("type").get<std::string>(),
             shape.empty() ? "one a row" : fmt::format("{}", fmt::join(shape, " x ")),
             column.at("meaning").get<std::string>());
  if (column.contains("mean"))
    fmt::print("  {:<12} mean {:.6g}, variance {:.6g}, range {:.6g} … {:.6g}, not finite {}\n", "",
               column["mean"].get<double>(), column["variance"].get<double>(), column["minimum"].get<double>(),
               column["maximum"].get<double>(), column["nonfinite"].get<std::int64_t>());
  constexpr std::size_t most_values_printed = 100;  // the numbers of rows are no classes
  if (!column.contains("histogram") || column["histogram"].size() > most_values_printed) return;
  std::vector<std::string> counts;
  for (const auto& [value, count] : column["histogram"].items())
    counts.push_back(fmt::format("{}: {}", value, count.get<std::int64_t>()));
  fmt::print("  {:<12} {}\n", "", fmt::join(counts, ", "));
}

void print_fact(const std::string& name, const std::string& text) {
  fmt::print("  {:<18} {}\n", name, text);
}

void print_noise(const Json& couplings) {
  const Json& noise = couplings.at("noise");
  const Json& values = couplings.at("normality").at("values");
  const Json& projections = couplings.at("normality").at("projections");
  print_fact("sigma_f",
             couplings.contains("manifest_sigma_f")
                 ? fmt::format("{:.8g}; the manifest says {:.8g}, relative difference {:.1e}",
                               couplings["sigma_f"].get<double>(), couplings["manifest_sigma_f"].get<double>(),
                               couplings["sigma_f_relative_difference"].get<double>())
                 : fmt::format("{:.8g}", couplings.at("sigma_f").get<double>()));
  print_fact("rows not finite", fmt::format("{} of {}", couplings.at("nonfinite_rows").get<std::int64_t>(),
                                            couplings.at("rows").get<std::int64_t>()));
  print_fact("noise", fmt::format("mean {:.6g}, variance {:.6g}, skewness {:.4g}, excess kurtosis {:.4g}",
                                  noise.at("mean").get<double>(), noise.at("variance").get<double>(),
                                  noise.at("skewness").get<double>(), noise.at("excess_kurtosis").get<double>()));
  for (std::size_t i = 0; i < noise.at("channels").size(); ++i)
    print_fact(fmt::format("  channel {}", i),
               fmt::format("mean {:.6g}, variance {:.6g}", noise["channels"][i].at("mean").get<double>(),
                           noise["channels"][i].at("variance").get<double>()));
  print_fact("normal values?",
             fmt::format("Kolmogorov-Smirnov D {:.4g}, p {:.3g} ({} values of {} rows)",
                         values.at("statistic").get<double>(), values.at("p_value").get<double>(),
                         values.at("values").get<std::int64_t>(), values.at("rows").get<std::int64_t>()));
  print_fact(
      "normal rows?",
      fmt::format("largest D {:.4g}, {:.1f} % rejected at {} % ({} random projections of {} rows)",
                  projections.at("largest_statistic").get<double>(),
                  100 * projections.at("rejected_share").get<double>(),
                  100 * projections.at("significance").get<double>(), projections.at("projections").get<std::int64_t>(),
                  projections.at("rows").get<std::int64_t>()));
  print_fact("correlation", fmt::format("of neighbours: horizontal {:.4f}, vertical {:.4f}",
                                        couplings.at("correlation").at("horizontal").get<double>(),
                                        couplings.at("correlation").at("vertical").get<double>()));
  print_fact("transport cost", fmt::format("E|z - x|^2 {:.6g} a row; of independent noise {:.6g}",
                                           couplings.at("transport_cost").at("mean").get<double>(),
                                           couplings.at("transport_cost").at("independent_noise").get<double>()));
}

void print_scalars(const std::string& name, const Json& scalars) {
  print_fact(name,
             fmt::format("{} rows, {} not measured, {} not finite", scalars.at("rows").get<std::int64_t>(),
                         scalars.at("not_measured").get<std::int64_t>(), scalars.at("nonfinite").get<std::int64_t>()));
  if (!scalars.contains("mean")) return;
  print_fact("", fmt::format("mean {:.6g}, range {:.6g} … {:.6g}", scalars["mean"].get<double>(),
                             scalars["minimum"].get<double>(), scalars["maximum"].get<double>()));
  std::vector<std::string> quantiles;
  for (const auto& [level, value] : scalars.at("quantiles").items())
    quantiles.push_back(fmt::format("{} %: {:.4g}", 100 * std::stod(level), value.get<double>()));
  print_fact("", fmt::format("{}", fmt::join(quantiles, ", ")));
  print_fact("", fmt::format("20 bins: {}",
                             fmt::join(scalars.at("histogram").at("counts").get<std::vector<std::int64_t>>(), " ")));
}

}  // namespace

Json describe_rows(const RowSource& source, bool judged) {
  std::vector<ColumnStatistics> statistics(source.columns().begin(), source.columns().end());
  std::optional<CouplingStatistics> couplings;
  if (source.format() == coupling_format && CouplingStatistics::apply_to(source.columns()))
    couplings.emplace(source.columns(), source.rows());
  std::optional<PairSample> pairs;
  if (judged && PairSample::apply_to(source)) pairs.emplace(source);
  std::optional<DatasetDescription> dataset;
  if (DatasetDescription::applies_to(source)) dataset.emplace(source);
  read_rows(source, statistics, couplings, pairs, dataset);
  Json json = describe_header(source);
  json["columns"] = Json::array();
  for (std::size_t i = 0; i < statistics.size(); ++i)
    json["columns"].push_back(describe_column(source.columns()[i], source.rows(), statistics[i]));
  if (dataset) json["dataset"] = dataset->to_json();
  if (couplings) json["couplings"] = describe_couplings(source, *couplings);
  if (judged && couplings)
    if (Json gap = describe_noise(source); !gap.is_null()) json["gap"] = std::move(gap);
  if (pairs) json["quality"] = pairs->judge(manifest_sigma(source).value_or(couplings->sigma_f()));
  return json;
}

void print_description(const Json& description) {
  for (const auto& [key, value] : description.items())
    if (key != "columns" && key != "dataset" && key != "couplings" && key != "gap" && key != "quality")
      fmt::print("{:<15} {}\n", key, value.is_string() ? value.get<std::string>() : value.dump());
  fmt::print("columns\n");
  for (const auto& column : description.at("columns")) print_column(column);
  if (description.contains("dataset")) {
    fmt::print("images\n");
    print_dataset(description["dataset"]);
  }
  if (!description.contains("couplings")) return;
  fmt::print("couplings\n");
  print_noise(description["couplings"]);
  for (const char* name : {"nll", "round_trip"})
    if (description["couplings"].contains(name)) print_scalars(name, description["couplings"][name]);
  if (description.contains("gap")) print_noise_gap(description["gap"]);
  if (description.contains("quality")) print_quality(description["quality"]);
}

}  // namespace couplet
