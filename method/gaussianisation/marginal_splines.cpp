#include "method/gaussianisation/marginal_splines.h"

#include "pipeline/tensor/row_chunks.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace couplet {
namespace {

constexpr std::int64_t spline_knots = 13;
constexpr double rows_beyond_knots = 30, least_gap = 1e-3, widest_score = 6;
constexpr double widest_place = 8;  // asinh of values of 1490
constexpr double bin_width = 2 * widest_place / static_cast<double>(ValueCounts::bins);

/// Φ of scores.
at::Tensor normal_shares(const at::Tensor& scores) {
  return 0.5 * at::erfc(-scores / std::numbers::sqrt2);
}

/// 1 / (dy/dx) at the knots: differences of x over those of y, which are even; at the ends one-sided.
at::Tensor inverse_slopes(const at::Tensor& knots, const at::Tensor& scores) {
  const at::Tensor steps = knots.diff(1, 1) / scores.diff();  // [d, K - 1]
  const std::int64_t last = steps.size(1) - 1;
  const auto at_end = [&](std::int64_t own, std::int64_t next) {
    const at::Tensor step = steps.narrow(1, own, 1);
    return at::maximum(1.5 * step - 0.5 * steps.narrow(1, next, 1), 0.5 * step);
  };
  return at::cat({at_end(0, 1), 0.5 * (steps.narrow(1, 0, last) + steps.narrow(1, 1, last)), at_end(last, last - 1)},
                 1);
}

/// Where the shares p [K] of each value's rows lie, within bins as if these were filled evenly: [d, K].
at::Tensor quantiles(const at::Tensor& counts, const at::Tensor& shares) {
  const at::Tensor below = counts.cumsum(1);
  const at::Tensor wanted = (shares * below.select(1, counts.size(1) - 1).unsqueeze(1)).contiguous();
  const at::Tensor bin = at::searchsorted(below, wanted).clamp_max(counts.size(1) - 1);
  const at::Tensor inside = counts.gather(1, bin).clamp_min(1);
  const at::Tensor part = 1 - (below.gather(1, bin) - wanted) / inside;
  return (-widest_place + bin_width * (bin.to(at::kDouble) + part.clamp(0, 1))).sinh();
}

}  // namespace

MarginalSplines::MarginalSplines(const at::Tensor& knots, const at::Tensor& scores)
    : knots_(knots.contiguous()), scores_(scores.contiguous()), slopes_(1 / inverse_slopes(knots_, scores_)) {}

MarginalSplines::Mapped MarginalSplines::operator()(const at::Tensor& x) const {
  const std::int64_t last = knots_.size(1) - 1;
  const at::Tensor by_value = x.t().contiguous();  // [d, n]
  const at::Tensor right = at::searchsorted(knots_, by_value).clamp(1, last), left = right - 1;
  const at::Tensor x0 = knots_.gather(1, left), x1 = knots_.gather(1, right);
  const at::Tensor y0 = scores_.take(left), y1 = scores_.take(right);
  const at::Tensor d0 = slopes_.gather(1, left), d1 = slopes_.gather(1, right);
  const at::Tensor slope = (y1 - y0) / (x1 - x0);
  const at::Tensor at_place = ((by_value - x0) / (x1 - x0)).clamp(0, 1), to_right = 1 - at_place;
  const at::Tensor both = at_place * to_right, denominator = slope + (d0 + d1 - 2 * slope) * both;
  // Within the knots; beyond them `beyond` goes straight on with the slope of the end.
  const at::Tensor within = y0 + (y1 - y0) * (slope * at_place.square() + d0 * both) / denominator;
  const at::Tensor derivative =
      slope.square() * (d1 * at_place.square() + 2 * slope * both + d0 * to_right.square()) / denominator.square();
  const at::Tensor beyond = (by_value - x1).clamp_min(0) + (by_value - x0).clamp_max(0);
  return {(within + derivative * beyond).t().contiguous(), derivative.log().sum(0)};
}

void ValueCounts::add(at::Tensor& counts, const at::Tensor& x) {
  const std::int64_t values = x.size(1);
  const at::Tensor bin = ((x.asinh() + widest_place) / bin_width).floor().clamp(0, bins - 1).to(at::kLong);
  const at::Tensor place = (bin + at::arange(values, at::kLong) * bins).flatten();
  counts.view({-1}).index_add_(0, place, at::ones({place.numel()}, counts.options()));
}

SplineFit fit_splines(const at::Tensor& counts) {
  const OneThread one_thread;
  const double n = counts[0].sum().item<double>();
  // The outermost knots have some rows beyond them: Φ(-y) = rows / n, by bisection.
  double low = 0, high = widest_score;
  for (int i = 0; i < 60; ++i) {
    const double middle = 0.5 * (low + high);
    (0.5 * std::erfc(middle / std::numbers::sqrt2) > rows_beyond_knots / n ? low : high) = middle;
  }
  SplineFit fit;
  fit.scores = at::linspace(-low, low, spline_knots, at::kDouble);
  const at::Tensor shares = normal_shares(fit.scores);
  // A value that is the same in all rows has no quantiles: nothing makes it normal, and it stays as it is.
  const at::Tensor varies = std::get<0>(counts.max(1, /*keepdim=*/true)) < n;
  const at::Tensor moved = at::where(varies, quantiles(counts, shares) - fit.scores, at::zeros({1}, at::kDouble));
  const at::Tensor density = (-0.5 * fit.scores.square()).exp() / std::sqrt(2 * std::numbers::pi);
  const at::Tensor scatter = shares * (1 - shares) / (n * density.square());
  const double figures = varies.sum().item<double>() * static_cast<double>(spline_knots);
  const double ratio = (moved.square() / scatter).sum().item<double>() / std::max(figures, 1.0);
  fit.weight = std::max(0.0, 1 - 1 / std::max(ratio, 1e-12));
  // Increasing by `least_gap` at least, where rows of many equal values would put several knots into one place.
  const at::Tensor rise = at::arange(spline_knots, at::kDouble) * least_gap;
  const at::Tensor increasing = std::get<0>((fit.scores + fit.weight * moved - rise).cummax(1)) + rise;
  fit.knots = increasing.contiguous();
  return fit;
}

}  // namespace couplet
