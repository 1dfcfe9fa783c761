#include "method/statistics/coupling_quality.h"

#include "method/statistics/central_moments.h"
#include "method/statistics/crossing.h"
#include "method/statistics/normality.h"
#include "pipeline/tensor/random.h"
#include "pipeline/tensor/row_chunks.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace couplet {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::int64_t most_judged_rows = 4096, most_judged_values = 1 << 24;
constexpr std::int64_t most_tested_values = 1 << 22;
constexpr double no_figure = std::numeric_limits<double>::quiet_NaN();
/// The seed of the other order is beyond every seed that a run may have (pipeline.seed is at most 2^53).
constexpr std::uint64_t reorder_seed = (std::uint64_t{1} << 53) + 3;

/// Pairs as they are judged: image and noise float32 [n, values], contiguous; label int64 [n].
struct JudgedPairs {
  at::Tensor image, noise, label;
  std::int64_t nonfinite = 0, repeated = 0;  ///< left out

  std::int64_t rows() const { return image.size(0); }
  std::int64_t values() const { return image.size(1); }
  std::span<const float> noise_of(std::int64_t row) const {
    return {noise.const_data_ptr<float>() + row * values(), static_cast<std::size_t>(values())};
  }
};

std::string_view bytes_of_row(const at::Tensor& rows, std::int64_t row) {
  const auto bytes = static_cast<std::size_t>(rows.size(1)) * sizeof(float);
  return {reinterpret_cast<const char*>(rows.const_data_ptr<float>()) + static_cast<std::size_t>(row) * bytes, bytes};
}

/// A repeated pair would be its own nearest neighbour and hide what crosses.
JudgedPairs distinct_finite_pairs(const at::Tensor& image, const at::Tensor& noise, const at::Tensor& label) {
  JudgedPairs all{image.flatten(1).to(at::kFloat).contiguous(), noise.flatten(1).to(at::kFloat).contiguous(), label};
  const at::Tensor finite = all.image.isfinite().all(1).logical_and(all.noise.isfinite().all(1));
  std::set<std::pair<std::string_view, std::string_view>> seen;
  std::vector<std::int64_t> kept;
  for (std::int64_t row = 0; row < all.rows(); ++row) {
    if (!finite.const_data_ptr<bool>()[row])
      ++all.nonfinite;
    else if (seen.emplace(bytes_of_row(all.noise, row), bytes_of_row(all.image, row)).second)
      kept.push_back(row);
    else
      ++all.repeated;
  }
  const at::Tensor numbers = at::tensor(kept, at::kLong);
  return {all.image.index_select(0, numbers), all.noise.index_select(0, numbers), label.index_select(0, numbers),
          all.nonfinite, all.repeated};
}

/// A random order of rows, always the same.
at::Tensor other_order(std::int64_t rows) {
  return at::tensor(permutation(rows, reorder_seed, Purpose::row_order, 0), at::kLong);
}

/// ‖z - x‖ of each row, float64 [n].
at::Tensor pair_distances(const at::Tensor& image, const at::Tensor& noise) {
  return (noise.to(at::kDouble) - image.to(at::kDouble)).square().sum(1).sqrt();
}

Json judge_transport(const JudgedPairs& pairs) {
  const at::Tensor own = pair_distances(pairs.image, pairs.noise);
  const at::Tensor other = pair_distances(pairs.image, pairs.noise.index_select(0, other_order(pairs.rows())));
  const double squared = own.square().mean().item<double>(), others_squared = other.square().mean().item<double>();
  return {{"squared", squared},
          {"distance", own.mean().item<double>()},
          {"independent_squared", others_squared},
          {"independent_distance", other.mean().item<double>()},
          {"ratio", squared / others_squared}};
}

/// Values of the noise of some rows.
struct TestedValues {
  std::int64_t rows = 0;
  CentralMoments moments;
  std::vector<float> values;

  void add(std::span<const float> row) {
    ++rows;
    moments.add(row);
    values.insert(values.end(), row.begin(), row.end());
  }
  double statistic() const { return test_normal(values, 1).statistic; }
};

/// The figures of each class, and the one whose values are farthest from normal.
Json judge_classes(const std::vector<std::int64_t>& labels, const std::vector<TestedValues>& classes) {
  Json all = Json::array();
  Json worst;
  double largest = no_figure;
  for (std::size_t i = 0; i < classes.size(); ++i) {
    if (classes[i].rows == 0) continue;
    const double statistic = classes[i].statistic();
    all.push_back({{"label", labels[i]},
                   {"rows", classes[i].rows},
                   {"mean", classes[i].moments.mean()},
                   {"variance", classes[i].moments.variance()},
                   {"statistic", statistic}});
    if (largest >= statistic) continue;
    largest = statistic;
    worst = labels[i];
  }
  return {{"worst_class", worst}, {"worst_class_statistic", largest}, {"classes", std::move(all)}};
}

Json judge_normality(const JudgedPairs& pairs) {
  const ClassNumbers classes(pairs.label);
  const RowSample sample(pairs.rows(), std::max<std::int64_t>(1, most_tested_values / pairs.values()));
  TestedValues all;
  std::vector<TestedValues> by_class(classes.labels.size());
  for (std::int64_t i = 0; i < sample.size(); ++i) {
    const std::int64_t row = sample.at(i);
    all.add(pairs.noise_of(row));
    by_class[static_cast<std::size_t>(classes.number.const_data_ptr<std::int64_t>()[row])].add(pairs.noise_of(row));
  }
  const auto [variances, means] = at::var_mean(pairs.noise.to(at::kDouble), 0, /*unbiased=*/false);
  Json json{{"mean", all.moments.mean()},
            {"variance", all.moments.variance()},
            {"skewness", all.moments.skewness()},
            {"excess_kurtosis", all.moments.excess_kurtosis()},
            {"mean_spread", means.std(/*unbiased=*/false).item<double>()},
            {"variance_spread", variances.std(/*unbiased=*/false).item<double>()},
            {"rows", all.rows},
            {"statistic", all.statistic()}};
  json.update(judge_classes(classes.labels, by_class));
  return json;
}

/// Means of the rows of each class, float64 [classes, values]; of a class without rows 0. `counts`: [classes, 1].
at::Tensor class_means(const at::Tensor& rows, const at::Tensor& number, const at::Tensor& counts) {
  const at::Tensor sums = at::zeros({counts.size(0), rows.size(1)}, at::kDouble).index_add_(0, number, rows);
  return sums / counts.clamp_min(1);
}

at::Tensor class_counts(const at::Tensor& number, std::int64_t classes) {
  return at::bincount(number, {}, classes).to(at::kDouble).unsqueeze(1);
}

/// The share of one half of the rows whose class is that of the nearest mean of the other half's noise.
double accuracy_by_means(const at::Tensor& noise, const at::Tensor& number, std::int64_t classes) {
  const at::Tensor order = other_order(noise.size(0));
  const at::Tensor known = order.narrow(0, 0, order.size(0) / 2), asked = order.slice(0, order.size(0) / 2);
  const at::Tensor counts = class_counts(number.index_select(0, known), classes);
  const at::Tensor means = class_means(noise.index_select(0, known), number.index_select(0, known), counts);
  const at::Tensor distances = means.square().sum(1) - 2 * noise.index_select(0, asked).matmul(means.t());
  const at::Tensor nearest = distances.masked_fill(counts.t() == 0, std::numeric_limits<double>::infinity()).argmin(1);
  return (nearest == number.index_select(0, asked)).to(at::kDouble).mean().item<double>();
}

Json judge_label(const JudgedPairs& pairs) {
  const ClassNumbers classes(pairs.label);
  const at::Tensor noise = pairs.noise.to(at::kDouble), counts = class_counts(classes.number, classes.count());
  const at::Tensor mean = noise.mean(0);
  const double between = (counts * (class_means(noise, classes.number, counts) - mean).square()).sum().item<double>();
  const double explained = between / (noise - mean).square().sum().item<double>();
  const auto rows = static_cast<double>(pairs.rows());
  const double expected = static_cast<double>(classes.count() - 1) / (rows - 1);
  return {{"classes", classes.count()},
          {"explained", explained},
          {"expected", expected},
          {"dependence", (explained - expected) / (1 - expected)},
          {"accuracy", accuracy_by_means(noise, classes.number, classes.count())},
          {"chance", counts.max().item<double>() / rows}};
}

Json judge_crossing(const JudgedPairs& pairs) {
  const Crossing found = measure_crossing(pairs.image, pairs.noise, pairs.label);
  return {{"share", found.share},
          {"times", found.times},
          {"shares", found.at_times},
          {"regressors", found.regressors},
          {"projected_from", found.projected_from},
          {"neighbours", found.neighbours}};
}

}  // namespace

std::int64_t judged_rows(std::int64_t values) {
  return std::clamp<std::int64_t>(most_judged_values / std::max<std::int64_t>(1, values), 1, most_judged_rows);
}

Json judge_pairs(const at::Tensor& image, const at::Tensor& noise, const at::Tensor& label) {
  const at::NoGradGuard no_grad;
  const JudgedPairs pairs = distinct_finite_pairs(image, noise, label);
  Json json{{"rows", pairs.rows()}, {"nonfinite_rows", pairs.nonfinite}, {"repeated_rows", pairs.repeated}};
  if (pairs.rows() < 2) return json;
  {
    const OneThread one_thread;
    json["transport_cost"] = judge_transport(pairs);
    json["normality"] = judge_normality(pairs);
    json["label"] = judge_label(pairs);
  }
  json["crossing"] = judge_crossing(pairs);
  return json;
}

}  // namespace couplet
