#include "launch/inspect/pair_sample.h"

#include "method/data/images.h"
#include "method/statistics/coupling_quality.h"
#include "method/statistics/coupling_statistics.h"
#include "method/tables/coupling_table.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <cstring>
#include <string>

namespace couplet {
namespace {

using Json = nlohmann::ordered_json;

const Column& column_of(const RowSource& source, const std::string& name) {
  return source.columns()[source.find(name).value()];
}

std::size_t values_of_column(const Column& column) {
  return column.row_bytes() / element_size(column.type);
}

/// A figure as people read it.
std::string judged_text(const Json& figure) {
  return figure.is_number() ? fmt::format("{:.4g}", figure.get<double>()) : "not known";
}

void print_judged(const char* name, const std::string& text) {
  fmt::print("  {:<18} {}\n", name, text);
}

void print_normality(const Json& normality) {
  const auto text = [&](const char* name) { return judged_text(normality.at(name)); };
  print_judged("noise", fmt::format("mean {} (± {} over values), variance {} (± {}), skewness {}, excess kurtosis {}",
                                    text("mean"), text("mean_spread"), text("variance"), text("variance_spread"),
                                    text("skewness"), text("excess_kurtosis")));
  print_judged("normal values?",
               fmt::format("Kolmogorov-Smirnov D {}; largest of a class {} (label {})", text("statistic"),
                           text("worst_class_statistic"), normality.at("worst_class").dump()));
}

void print_label(const Json& label) {
  const auto text = [&](const char* name) { return judged_text(label.at(name)); };
  print_judged("label", fmt::format("class means explain {} of the variance of z, {} by chance: dependence {}",
                                    text("explained"), text("expected"), text("dependence")));
  print_judged("", fmt::format("guessed from z with accuracy {}; {} by chance", text("accuracy"), text("chance")));
}

void print_crossing(const Json& crossing) {
  std::vector<std::string> shares;
  for (std::size_t i = 0; i < crossing.at("times").size(); ++i)
    shares.push_back(
        fmt::format("{} at t {:.1f}", judged_text(crossing["shares"][i]), crossing["times"][i].get<double>()));
  print_judged("crossing", fmt::format("{} of E|v|^2 that no field can give", judged_text(crossing.at("share"))));
  print_judged("", fmt::format("{}", fmt::join(shares, ", ")));
  if (crossing.at("projected_from") != 0)
    print_judged(
        "", fmt::format("a bound: by {} projections of {} values, as there are few rows",
                        crossing.at("regressors").get<std::int64_t>(), crossing["projected_from"].get<std::int64_t>()));
}

}  // namespace

bool PairSample::apply_to(const RowSource& source) {
  if (source.format() != coupling_format || !CouplingStatistics::apply_to(source.columns())) return false;
  const auto label = source.find("label");
  return label && source.columns()[*label].type == ElementType::int32 && source.columns()[*label].shape.empty();
}

PairSample::PairSample(const RowSource& source)
    : noise_type_(column_of(source, "noise").type),
      image_type_(column_of(source, "image").type),
      values_(values_of_column(column_of(source, "noise"))),
      sample_(source.rows(), judged_rows(static_cast<std::int64_t>(values_))) {}

void PairSample::add(std::span<const std::byte> noise, std::span<const std::byte> image,
                     std::span<const std::byte> label) {
  const std::int64_t first = row_;
  const std::size_t noise_bytes = values_ * element_size(noise_type_), image_bytes = values_ * element_size(image_type_);
  row_ += static_cast<std::int64_t>(noise.size() / noise_bytes);
  std::vector<float> row;
  for (; next_ < sample_.size() && sample_.at(next_) < row_; ++next_) {
    const auto at = static_cast<std::size_t>(sample_.at(next_) - first);
    to_floats(noise_type_, noise.subspan(at * noise_bytes, noise_bytes), row);
    noise_.insert(noise_.end(), row.begin(), row.end());
    to_floats(image_type_, image.subspan(at * image_bytes, image_bytes), row);
    if (image_type_ == ElementType::uint8)
      for (float& value : row) value = static_cast<float>(pixel_value(static_cast<int>(value)));
    image_.insert(image_.end(), row.begin(), row.end());
    std::int32_t own = 0;
    std::memcpy(&own, label.subspan(at * sizeof own, sizeof own).data(), sizeof own);
    label_.push_back(own);
  }
}

Json PairSample::judge(double scale) const {
  const std::int64_t rows = std::ssize(label_), values = static_cast<std::int64_t>(values_);
  const auto tensor = [&](const std::vector<float>& all) { return at::tensor(all, at::kFloat).view({rows, values}); };
  return judge_pairs(tensor(image_), tensor(noise_) / scale, at::tensor(label_, at::kLong));
}

void print_quality(const Json& quality) {
  fmt::print("quality, of {} pairs ({} not finite, {} repeated)\n", quality.at("rows").get<std::int64_t>(),
             quality.at("nonfinite_rows").get<std::int64_t>(), quality.at("repeated_rows").get<std::int64_t>());
  if (!quality.contains("crossing")) return;
  const auto cost = [&](const char* name) { return judged_text(quality.at("transport_cost").at(name)); };
  print_judged("transport cost",
               fmt::format("E|z - x|^2 {}, {} of that of independent pairs; E|z - x| {} against {}", cost("squared"),
                           cost("ratio"), cost("distance"), cost("independent_distance")));
  print_normality(quality.at("normality"));
  print_label(quality.at("label"));
  print_crossing(quality.at("crossing"));
}

}  // namespace couplet
