#include "launch/inspect/noise_description.h"

#include "method/statistics/prior_gap.h"
#include "method/tables/coupling_table.h"
#include "pipeline/config/options.h"
#include "pipeline/distributed/slices.h"
#include "pipeline/loader/table_rows.h"
#include "storage/filesystem.h"
#include "storage/tables/filenames.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <optional>

namespace couplet {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::int64_t rows_of_a_slice = 250;

/// The table of the other split beside this one; none: a table has no split, or is alone.
std::optional<RowTable> table_beside(const std::filesystem::path& path, const char* own, const char* other) {
  const std::filesystem::path folder = std::filesystem::absolute(path).lexically_normal();
  const std::filesystem::path named = folder.has_filename() ? folder : folder.parent_path();
  const std::filesystem::path beside = named.parent_path() / other;
  if (named.filename() != own || !is_there(beside / manifest_name)) return std::nullopt;
  return RowTable(beside, coupling_format);
}

std::int64_t classes_of(const RowTable& table) {
  return table.rows() == 0 ? 0 : read_rows(table, "label", 0, table.rows()).max().item<std::int64_t>() + 1;
}

SplitGap measure_alone(const NoiseFit& fit, const NoiseSample& sample, Communicator& communicator) {
  return measure_gap(fit, sample, [&](std::int64_t rows, std::int64_t figures, const auto& measure) {
    at::Tensor sum = at::zeros({figures}, at::kDouble);
    const std::int64_t slice = std::min(rows, rows_of_a_slice);
    for_each_slice(
        communicator, {.rows = rows, .slice_rows = slice, .columns = figures, .stopped = ""},
        [&](std::int64_t first) { return measure(first, slice); },
        [&](const at::Tensor& values) { sum += values.sum(0); });
    return sum;
  });
}

std::string gap_estimate_text(const Json& estimate) {
  return fmt::format("{:.4g} ± {:.2g}", estimate.at("value").get<double>(),
                     estimate.at("standard_error").get<double>());
}

void print_gap_fact(const std::string& name, const std::string& text) {
  fmt::print("  {:<18} {}\n", name, text);
}

void print_split(const std::string& name, const Json& split) {
  const Json& square = split.at("square");
  print_gap_fact(name, fmt::format("{} rows: log N(z; 0, I) {} nats a row, N(0, I) itself {:.6g}",
                                   split.at("rows").get<std::int64_t>(), gap_estimate_text(split.at("log_density")),
                                   split.at("normal_log_density").get<double>()));
  print_gap_fact("", fmt::format("|z|^2/d {}, its deviation {:.4f} (normal {:.4f}); skewness {:.4f}, kurtosis {:.4f}",
                                 gap_estimate_text(square), split.at("square_deviation").get<double>(),
                                 split.at("normal_square_deviation").get<double>(), split.at("skewness").get<double>(),
                                 split.at("kurtosis").get<double>()));
  std::string gains;
  for (const auto& [figure, what] : {std::pair{"class_mean_nats", "class means"},
                                     {"class_deviation_nats", "and deviations"},
                                     {"covariance_nats", "one covariance"},
                                     {"class_covariance_nats", "covariances by class"},
                                     {"plain_covariance_nats", "unshrunk: one covariance"},
                                     {"plain_class_covariance_nats", "by class"}})
    if (split.contains(figure))
      gains += fmt::format("{}{} {}", gains.empty() ? "" : ", ", what, gap_estimate_text(split.at(figure)));
  print_gap_fact("", "nats gained: " + gains);
}

}  // namespace

Json describe_noise(const RowSource& source) {
  if (!source.is_table() || source.format() != coupling_format || !source.sigma_f() || source.rows() == 0)
    return nullptr;
  if (!source.find("noise") || !source.find("label")) return nullptr;
  const std::optional<RowTable> trained = table_beside(source.path(), "test", "train");
  const std::optional<RowTable> beside = table_beside(source.path(), "train", "test");
  const RowTable& train = trained ? *trained : source.table();
  const RowTable* test = trained ? &source.table() : beside ? &*beside : nullptr;
  const auto sigma_f = train.summary().at("sigma_f").get<double>();
  const std::int64_t most = default_config().evaluate.gap_rows;
  const auto communicator = make_single_communicator();
  const NoiseSample sample(train, sigma_f, most);
  const NoiseFit fit = fit_noise(sample, std::max(classes_of(train), test ? classes_of(*test) : 0), *communicator);
  std::optional<SplitGap> held_out;
  if (test && test->rows() > 0) held_out = measure_alone(fit, NoiseSample(*test, sigma_f, most), *communicator);
  return gap_json(fit, measure_alone(fit, sample, *communicator), held_out);
}

void print_noise_gap(const Json& gap) {
  fmt::print("noise beside N(0, I)\n");
  print_split("training rows", gap.at("train"));
  if (gap.contains("test")) {
    print_split("held-out rows", gap.at("test"));
    const char* difference = gap.contains("nll_difference") ? "nll_difference" : "normal_difference";
    print_gap_fact("overfitted?",
                   fmt::format("{}: held-out rows are less likely than training rows by {} nats a row",
                               gap.at("overfitted").get<bool>() ? "yes" : "no", gap_estimate_text(gap.at(difference))));
  }
  if (!gap.contains("frechet")) return;
  print_gap_fact("Fréchet distance",
                 fmt::format("{:.4g} to N(0, I); as many normal rows have about {:.4g}",
                             gap.at("frechet").get<double>(), gap.at("normal_frechet").get<double>()));
  for (const Json& of : gap.at("classes"))
    print_gap_fact(fmt::format("  class {}", of.at("label").get<std::int64_t>()),
                   fmt::format("eigenvalues {:.4f} … {:.4f} (normal {:.4f} … {:.4f}), |mean|^2 {:.4g}, Fréchet {:.4g}",
                               of.at("smallest").get<double>(), of.at("largest").get<double>(),
                               of.at("normal_smallest").get<double>(), of.at("normal_largest").get<double>(),
                               of.at("mean_square").get<double>(), of.at("frechet").get<double>()));
}

}  // namespace couplet
