#include "method/statistics/coupling_statistics.h"

#include "method/data/images.h"
#include "pipeline/tensor/random.h"
#include "storage/error.h"

#include <c10/util/Half.h>

#include <algorithm>
#include <cmath>
#include <cstring>

namespace couplet {
namespace {

using Json = nlohmann::ordered_json;

constexpr double significance = 0.01;
/// The directions' seed is beyond every seed that a run may have (pipeline.seed is at most 2^53).
constexpr std::uint64_t direction_seed = (std::uint64_t{1} << 53) + 1;

const Column* find_column(const std::vector<Column>& columns, const std::string& name) {
  const auto found = std::ranges::find(columns, name, &Column::name);
  return found == columns.end() ? nullptr : &*found;
}

bool is_floating(ElementType type) {
  return type == ElementType::float16 || type == ElementType::float32 || type == ElementType::float64;
}

const Column& noise_of(const std::vector<Column>& columns) {
  if (!CouplingStatistics::apply_to(columns)) fail("these columns hold no noise [C, H, W] beside images of its shape");
  return *find_column(columns, "noise");
}

template <class Value>
void widen(std::span<const std::byte> bytes, std::vector<float>& out) {
  out.resize(bytes.size() / sizeof(Value));
  for (std::size_t i = 0; i < out.size(); ++i) {
    Value value;
    std::memcpy(&value, bytes.data() + i * sizeof value, sizeof value);
    out[i] = static_cast<float>(value);
  }
}

/// Directions drawn from the normal distribution, each divided by its norm.
std::vector<float> unit_directions(std::int64_t count, std::int64_t values) {
  std::vector<float> all(static_cast<std::size_t>(count * values));
  for (std::int64_t i = 0; i < count; ++i) {
    const auto direction =
        std::span(all).subspan(static_cast<std::size_t>(i * values), static_cast<std::size_t>(values));
    fill_normal(direction, direction_seed, Purpose::evaluation_noise, static_cast<std::uint64_t>(i));
    double squares = 0;
    for (const float value : direction) squares += static_cast<double>(value) * static_cast<double>(value);
    const double norm = std::sqrt(squares);
    for (float& value : direction) value = static_cast<float>(static_cast<double>(value) / norm);
  }
  return all;
}

double dot(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

Json test_json(const KolmogorovSmirnov& test) {
  return {{"values", test.values}, {"statistic", test.statistic}, {"p_value", test.p_value}};
}

}  // namespace

void to_floats(ElementType type, std::span<const std::byte> bytes, std::vector<float>& out) {
  switch (type) {
    case ElementType::uint8:
      return widen<std::uint8_t>(bytes, out);
    case ElementType::float16:
      return widen<c10::Half>(bytes, out);
    case ElementType::float32:
      return widen<float>(bytes, out);
    case ElementType::float64:
      return widen<double>(bytes, out);
    default:
      fail("{} values are not read as float here", element_name(type));
  }
}

void PairCorrelation::add(std::span<const float> a, std::span<const float> b) {
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double x = static_cast<double>(a[i]), y = static_cast<double>(b[i]);
    a_ += x;
    b_ += y;
    aa_ += x * x;
    bb_ += y * y;
    ab_ += x * y;
  }
  pairs_ += static_cast<std::int64_t>(a.size());
}

double PairCorrelation::value() const {
  const auto n = static_cast<double>(pairs_);
  return (ab_ - a_ * b_ / n) / std::sqrt((aa_ - a_ * a_ / n) * (bb_ - b_ * b_ / n));
}

bool CouplingStatistics::apply_to(const std::vector<Column>& columns) {
  const Column* noise = find_column(columns, "noise");
  const Column* image = find_column(columns, "image");
  return noise && image && noise->shape.size() == 3 && noise->shape == image->shape &&
         (image->type == ElementType::uint8 || is_floating(image->type)) && is_floating(noise->type);
}

CouplingStatistics::CouplingStatistics(const std::vector<Column>& columns, std::int64_t rows)
    : noise_type_(noise_of(columns).type),
      image_type_(find_column(columns, "image")->type),
      channels_(noise_of(columns).shape[0]),
      height_(noise_of(columns).shape[1]),
      width_(noise_of(columns).shape[2]),
      moments_(static_cast<std::size_t>(channels_)),
      tested_(rows, std::max<std::int64_t>(1, tested_values / (channels_ * height_ * width_))),
      projected_(rows, projected_rows),
      directions_(unit_directions(projections, channels_ * height_ * width_)),
      projections_(static_cast<std::size_t>(projections)) {}

void CouplingStatistics::add(std::span<const std::byte> noise, std::span<const std::byte> image) {
  const auto values = static_cast<std::size_t>(channels_ * height_ * width_);
  const std::size_t row_bytes = values * element_size(noise_type_), image_bytes = values * element_size(image_type_);
  std::vector<float> stored;
  for (std::size_t row = 0; row < noise.size() / row_bytes; ++row) {
    to_floats(noise_type_, noise.subspan(row * row_bytes, row_bytes), row_);
    to_floats(image_type_, image.subspan(row * image_bytes, image_bytes), stored);
    image_.assign(stored.begin(), stored.end());
    if (image_type_ == ElementType::uint8)
      for (double& value : image_) value = pixel_value(static_cast<int>(value));
    add_row(rows_++, row_, image_);
  }
}

void CouplingStatistics::add_row(std::int64_t row, std::span<const float> noise, std::span<const double> image) {
  const auto is_finite = [](auto value) { return std::isfinite(value); };
  const bool finite = std::ranges::all_of(noise, is_finite) && std::ranges::all_of(image, is_finite);
  if (finite) {
    const auto plane = static_cast<std::size_t>(height_ * width_);
    for (std::size_t c = 0; c < moments_.size(); ++c) moments_[c].add(noise.subspan(c * plane, plane));
    add_neighbours(noise);
    add_cost(noise, image);
  } else {
    ++nonfinite_rows_;
  }
  sample(row, finite ? noise : std::span<const float>());
}

void CouplingStatistics::add_neighbours(std::span<const float> noise) {
  const auto width = static_cast<std::size_t>(width_), lines = static_cast<std::size_t>(channels_ * height_);
  for (std::size_t line = 0; line < lines; ++line) {
    const auto values = noise.subspan(line * width, width);
    horizontal_.add(values.first(width - 1), values.last(width - 1));
    if ((line + 1) % static_cast<std::size_t>(height_) != 0)
      vertical_.add(values, noise.subspan((line + 1) * width, width));
  }
}

void CouplingStatistics::add_cost(std::span<const float> noise, std::span<const double> image) {
  for (std::size_t i = 0; i < noise.size(); ++i) {
    const double f = static_cast<double>(noise[i]), x = image[i];
    noise_squares_ += f * f;
    image_squares_ += x * x;
    products_ += f * x;
  }
}

/// Keeps what the tests need of a row that is one of theirs; nothing of a row without finite noise.
void CouplingStatistics::sample(std::int64_t row, std::span<const float> noise) {
  if (next_tested_ < tested_.size() && tested_.at(next_tested_) == row) {
    ++next_tested_;
    values_.insert(values_.end(), noise.begin(), noise.end());
  }
  if (next_projected_ == projected_.size() || projected_.at(next_projected_) != row) return;
  ++next_projected_;
  if (noise.empty()) return;
  for (std::size_t i = 0; i < projections_.size(); ++i)
    projections_[i].push_back(
        static_cast<float>(dot(std::span(directions_).subspan(i * noise.size(), noise.size()), noise)));
}

double CouplingStatistics::sigma_f() const {
  CentralMoments all;
  for (const CentralMoments& channel : moments_) all.add(channel);
  return std::sqrt(all.mean_square());
}

Json CouplingStatistics::normality(double scale) const {
  Json values = test_json(test_normal(values_, scale));
  values["rows"] = static_cast<std::int64_t>(values_.size()) / (channels_ * height_ * width_);
  double largest = std::numeric_limits<double>::quiet_NaN();
  std::int64_t rejected = 0;
  for (const std::vector<float>& projection : projections_) {
    const KolmogorovSmirnov test = test_normal(projection, scale);
    largest = std::fmax(largest, test.statistic);
    if (test.p_value < significance) ++rejected;
  }
  return {{"values", values},
          {"projections",
           {{"projections", projections},
            {"rows", projections_[0].size()},
            {"largest_statistic", largest},
            {"rejected_share", static_cast<double>(rejected) / static_cast<double>(projections)},
            {"significance", significance}}}};
}

Json CouplingStatistics::to_json(std::optional<double> manifest_sigma) const {
  const double computed = sigma_f(), scale = manifest_sigma.value_or(computed);
  Json json{{"rows", rows_}, {"nonfinite_rows", nonfinite_rows_}, {"sigma_f", computed}};
  if (manifest_sigma) {
    json["manifest_sigma_f"] = *manifest_sigma;
    json["sigma_f_relative_difference"] = computed / *manifest_sigma - 1;
  }
  CentralMoments all;
  Json channels = Json::array();
  for (const CentralMoments& channel : moments_) {
    all.add(channel);
    channels.push_back({{"mean", channel.mean()}, {"variance", channel.variance()}});
  }
  json["noise"] = {{"mean", all.mean()},
                   {"variance", all.variance()},
                   {"skewness", all.skewness()},
                   {"excess_kurtosis", all.excess_kurtosis()},
                   {"channels", channels}};
  json["normality"] = normality(scale);
  json["correlation"] = {{"horizontal", horizontal_.value()}, {"vertical", vertical_.value()}};
  const auto finite = static_cast<double>(rows_ - nonfinite_rows_);
  const double values = static_cast<double>(channels_ * height_ * width_), images = image_squares_ / finite;
  json["transport_cost"] = {
      {"mean", (noise_squares_ / scale / scale - 2 * products_ / scale + image_squares_) / finite},
      {"independent_noise", values + images}};
  return json;
}

}  // namespace couplet
