// How far a table's noise is from N(0, I), which students are sampled from: in nats, norms and moments, on the rows
// that its teacher was trained on and on held-out ones. docs/metrics.md lists the figures.
#pragma once

#include "method/statistics/noise_models.h"

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace couplet {

struct MeanEstimate {
  double value = 0, standard_error = 0;  ///< of a mean over independent rows
};

/// One split's figures, over its finite rows.
struct SplitGap {
  std::int64_t rows = 0, nonfinite = 0, values = 0;
  MeanEstimate square;                ///< E‖z‖²/d: 1 for N(0, I)
  double square_deviation = 0;        ///< of ‖z‖²/d: √(2/d) for N(0, I)
  double skewness = 0, kurtosis = 0;  ///< of values by the mean and deviation that each has over fitted rows: 0, 3
  std::array<MeanEstimate, noise_models> nats = {};  ///< gained by each model, a row; NaN where it was not fitted
  std::optional<MeanEstimate> nll;                   ///< of the table's column, nats a row

  MeanEstimate nats_of(NoiseModel model) const { return nats[static_cast<std::size_t>(model)]; }
  /// Mean log N(z; 0, I), nats a row, and what N(0, I) itself has.
  MeanEstimate log_density() const;
  double normal_log_density() const;
};

/// Sums of figures of a sample's rows: float64 [figures] over [first, first + count), slice by slice.
using SumOverRows =
    std::function<at::Tensor(std::int64_t rows, std::int64_t figures,
                             const std::function<at::Tensor(std::int64_t first, std::int64_t count)>& measure)>;

SplitGap measure_gap(const NoiseFit& fit, const NoiseSample& sample, const SumOverRows& sum);

/// Held-out rows less training rows: a teacher that knows its training images gives the held-out ones less likelihood,
/// and noise that is farther from N(0, I).
struct Overfitting {
  std::optional<MeanEstimate> nll;  ///< of the table's column, nats a row
  MeanEstimate normal;              ///< of - log N(z; 0, I), nats a row
  /// Of the first that there is: it lies above `overfitting_nats` and above three standard errors.
  bool is_clear() const { return is_clear(nll.value_or(normal)); }
  static bool is_clear(const MeanEstimate& difference);
};
inline constexpr double overfitting_nats = 0.5;

Overfitting compare_splits(const SplitGap& train, const SplitGap& held_out);

/// Of each class that was fitted: {"label", "rows", "mean_square", "smallest", "largest", "normal_smallest",
/// "normal_largest", "frechet"}: ‖mean‖², the ends of the covariance's spectrum and those that as many rows of N(0, I)
/// have (Marchenko and Pastur), the Fréchet distance to N(0, I). Empty where no covariances were fitted.
nlohmann::json class_spectra(const NoiseFit& fit);
/// The Fréchet distance of all fitted rows to N(0, I), and what it is about for as many rows of N(0, I).
double gap_frechet(const NoiseFit& fit);
double normal_frechet(const NoiseFit& fit);

/// The figures of both splits, as `couplet inspect` shows them.
nlohmann::ordered_json gap_json(const NoiseFit& fit, const SplitGap& train, const std::optional<SplitGap>& held_out);

}  // namespace couplet
