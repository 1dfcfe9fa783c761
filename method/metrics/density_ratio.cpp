#include "method/metrics/density_ratio.h"

#include "pipeline/tensor/row_chunks.h"

#include <ATen/ATen.h>

#include <cmath>

namespace couplet {
namespace {

/// Of each of `of` the share of `among` that lies below it, equal ones by half.
at::Tensor placements(const at::Tensor& of, const at::Tensor& among) {
  const at::Tensor sorted = std::get<0>(among.sort());
  const at::Tensor below = at::searchsorted(sorted, of), up_to = at::searchsorted(sorted, of, false, /*right=*/true);
  return (below + up_to).to(at::kDouble) / (2 * static_cast<double>(among.size(0)));
}

/// The variance of the mean of values.
double variance_of_mean(const at::Tensor& values) {
  return values.var(/*unbiased=*/true).item<double>() / static_cast<double>(values.size(0));
}

}  // namespace

AreaUnderCurve area_under_curve(const at::Tensor& a, const at::Tensor& b) {
  const OneThread one_thread;
  const at::Tensor of_a = placements(a, b), of_b = placements(b, a);
  return {of_a.mean().item<double>(), std::sqrt(variance_of_mean(of_a) + variance_of_mean(of_b))};
}

DivergenceBound divergence_bound(const at::Tensor& of_q, const at::Tensor& of_p) {
  const OneThread one_thread;
  const double largest = of_p.max().item<double>();
  const at::Tensor ratio = (of_p - largest).exp();
  const double mean = ratio.mean().item<double>(), logit = of_q.mean().item<double>();
  const double normaliser = largest + std::log(mean);
  // The logarithm of a mean varies as the mean does, over the mean.
  return {logit - normaliser, std::sqrt(variance_of_mean(of_q) + variance_of_mean(ratio) / (mean * mean)), logit,
          normaliser};
}

}  // namespace couplet
