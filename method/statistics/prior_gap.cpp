#include "method/statistics/prior_gap.h"

#include "pipeline/tensor/row_chunks.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace couplet {
namespace {

using Json = nlohmann::ordered_json;

/// What is added up of each row: 0 of one that is not finite. Behind them the nats gained, and their squares.
enum GapFigure : std::int64_t {
  of_finite,
  of_square,  ///< ‖z‖²/d
  of_fourth,  ///< its square
  of_cubes,   ///< mean over values, by their means and deviations
  of_fourths,
  of_nll,  ///< - log p, nats a row
  of_nll_square,
  of_gains
};
constexpr std::int64_t gap_figures = of_gains + 2 * noise_models;

at::Tensor gap_figures_of(const NoiseFit& fit, const NoiseRows& all) {
  const OneThread one_thread;
  at::Tensor finite = all.z.isfinite().all(1);
  if (all.nll.defined()) finite = finite.logical_and(all.nll.isfinite());
  const NoiseRows rows{at::where(finite.unsqueeze(1), all.z, at::zeros_like(all.z)), all.label, all.nll};
  const at::Tensor square = rows.z.square().mean(1);
  const at::Tensor u = (rows.z - fit.all_mean) / fit.all_variance.sqrt(), u2 = u.square();
  const at::Tensor nll = rows.nll.defined() ? rows.nll * fit.values() : at::zeros_like(square);
  const at::Tensor gains = nats_gained(fit, rows);
  const at::Tensor figures = at::cat({at::stack({at::ones_like(square), square, square.square(), (u2 * u).mean(1),
                                                 u2.square().mean(1), nll, nll.square()},
                                                1),
                                      gains, gains.square()},
                                     1);
  return at::where(finite.unsqueeze(1), figures, at::zeros_like(figures));
}

/// A mean over n rows from Σ x and Σ x².
MeanEstimate mean_estimate(double sum, double squares, double n) {
  const double mean = sum / n;
  return {mean, std::sqrt(std::max(squares / n - mean * mean, 0.0) / (n - 1))};
}

MeanEstimate difference(const MeanEstimate& of, const MeanEstimate& from) {
  return {of.value - from.value, std::hypot(of.standard_error, from.standard_error)};
}

Json estimate_json(const MeanEstimate& estimate) {
  return {{"value", estimate.value}, {"standard_error", estimate.standard_error}};
}

Json split_gap_json(const SplitGap& gap) {
  Json json{{"rows", gap.rows},
            {"nonfinite_rows", gap.nonfinite},
            {"log_density", estimate_json(gap.log_density())},
            {"normal_log_density", gap.normal_log_density()},
            {"square", estimate_json(gap.square)},
            {"square_deviation", gap.square_deviation},
            {"normal_square_deviation", std::sqrt(2 / static_cast<double>(gap.values))},
            {"skewness", gap.skewness},
            {"kurtosis", gap.kurtosis}};
  for (const auto& [name, model] : {std::pair{"class_mean_nats", NoiseModel::class_means},
                                    {"class_deviation_nats", NoiseModel::class_deviations},
                                    {"covariance_nats", NoiseModel::covariance},
                                    {"class_covariance_nats", NoiseModel::class_covariance},
                                    {"plain_covariance_nats", NoiseModel::plain_covariance},
                                    {"plain_class_covariance_nats", NoiseModel::plain_class_covariance}})
    if (const MeanEstimate nats = gap.nats_of(model); std::isfinite(nats.value)) json[name] = estimate_json(nats);
  if (gap.nll) json["nll"] = estimate_json(*gap.nll);
  return json;
}

}  // namespace

MeanEstimate SplitGap::log_density() const {
  const auto d = static_cast<double>(values);
  return {-d / 2 * (std::log(2 * std::numbers::pi) + square.value), d / 2 * square.standard_error};
}

double SplitGap::normal_log_density() const {
  return -static_cast<double>(values) / 2 * (std::log(2 * std::numbers::pi) + 1);
}

SplitGap measure_gap(const NoiseFit& fit, const NoiseSample& sample, const SumOverRows& sum) {
  const at::Tensor sums = sum(sample.rows(), gap_figures, [&](std::int64_t first, std::int64_t count) {
    return gap_figures_of(fit, sample.read(first, count));
  });
  const auto of = [&](std::int64_t figure) { return sums[figure].item<double>(); };
  const double n = of(of_finite);
  SplitGap gap;
  gap.rows = std::llround(n);
  gap.nonfinite = sample.rows() - gap.rows;
  gap.values = fit.values();
  gap.square = mean_estimate(of(of_square), of(of_fourth), n);
  gap.square_deviation = gap.square.standard_error * std::sqrt(n);
  gap.skewness = of(of_cubes) / n;
  gap.kurtosis = of(of_fourths) / n;
  for (std::int64_t i = 0; i < noise_models; ++i)
    gap.nats[static_cast<std::size_t>(i)] = mean_estimate(of(of_gains + i), of(of_gains + noise_models + i), n);
  if (sample.has_nll()) gap.nll = mean_estimate(of(of_nll), of(of_nll_square), n);
  return gap;
}

bool Overfitting::is_clear(const MeanEstimate& difference) {
  return difference.value > overfitting_nats && difference.value > 3 * difference.standard_error;
}

Overfitting compare_splits(const SplitGap& train, const SplitGap& held_out) {
  Overfitting found{{}, difference(train.log_density(), held_out.log_density())};
  if (train.nll && held_out.nll) found.nll = difference(*held_out.nll, *train.nll);
  return found;
}

nlohmann::json class_spectra(const NoiseFit& fit) {
  nlohmann::json classes = nlohmann::json::array();
  for (std::int64_t label = 0; fit.by_class.defined() && label < fit.classes(); ++label) {
    const double rows = fit.rows[label].item<double>();
    if (rows < 2) continue;
    const double ratio = std::sqrt(static_cast<double>(fit.values()) / rows);
    const at::Tensor eigenvalues = fit.by_class.values[label];
    classes.push_back({{"label", label},
                       {"rows", std::llround(rows)},
                       {"mean_square", fit.mean[label].square().sum().item<double>()},
                       {"smallest", eigenvalues[0].item<double>()},
                       {"largest", eigenvalues[-1].item<double>()},
                       {"normal_smallest", ratio < 1 ? (1 - ratio) * (1 - ratio) : 0},
                       {"normal_largest", (1 + ratio) * (1 + ratio)},
                       {"frechet", frechet_to_normal(fit.mean[label], eigenvalues)}});
  }
  return classes;
}

double gap_frechet(const NoiseFit& fit) {
  return frechet_to_normal(fit.all_mean, fit.all_values);
}

double normal_frechet(const NoiseFit& fit) {
  // (√λ - 1)² ≈ (λ - 1)²/4, and E‖S - I‖² = d (d + 1)/n.
  const auto d = static_cast<double>(fit.values());
  return (d + d * (d + 1) / 4) / fit.rows.sum().item<double>();
}

Json gap_json(const NoiseFit& fit, const SplitGap& train, const std::optional<SplitGap>& held_out) {
  Json json{{"train", split_gap_json(train)}};
  if (held_out) {
    const Overfitting found = compare_splits(train, *held_out);
    json["test"] = split_gap_json(*held_out);
    if (found.nll) json["nll_difference"] = estimate_json(*found.nll);
    json["normal_difference"] = estimate_json(found.normal);
    json["overfitted"] = found.is_clear();
  }
  if (!fit.by_class.defined()) return json;
  json["frechet"] = gap_frechet(fit);
  json["normal_frechet"] = normal_frechet(fit);
  json["covariance_shrinkage"] = fit.pooled.weight[0].item<double>();
  json["classes"] = class_spectra(fit);
  return json;
}

}  // namespace couplet
