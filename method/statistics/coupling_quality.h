// A coupling judged by some of its pairs, before a student is trained on it: how far noise and images are apart, how
// normal the noise is, what it says of the label, how much the paths cross. docs/metrics.md has the formulas.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <nlohmann/json.hpp>

namespace couplet {

/// How many pairs of so many values each a coupling is judged by, at most: 4,096, fewer where they would have more than
/// 2^24 values.
std::int64_t judged_rows(std::int64_t values);

/// Judges pairs: image float32 [n, ...] as models see it, noise float32 [n, ...] of unit variance, label int64 [n], on
/// the CPU. Pairs with a value that is not finite, and pairs that came before, to the byte, are counted and left out.
/// Independent pairs are these images with these noises in another order, the same for every coupling.
///
/// {"rows", "nonfinite_rows", "repeated_rows",
///  "transport_cost": {"squared", "distance", "independent_squared", "independent_distance", "ratio"},
///  "normality": {"mean", "variance", "skewness", "excess_kurtosis", "mean_spread", "variance_spread",
///                "rows", "statistic", "worst_class", "worst_class_statistic",
///                "classes": [{"label", "rows", "mean", "variance", "statistic"}]},
///  "label": {"classes", "explained", "expected", "dependence", "accuracy", "chance"},
///  "crossing": {"share", "times", "shares", "regressors", "projected_from", "neighbours"}}
///
/// Figures that there are too few rows for are NaN, null in JSON. The bits do not depend on the number of threads.
nlohmann::ordered_json judge_pairs(const at::Tensor& image, const at::Tensor& noise, const at::Tensor& label);

}  // namespace couplet
