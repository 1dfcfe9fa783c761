#include "method/transport/soft_choice.h"

#include "storage/error.h"

#include <ATen/ATen.h>

#include <cmath>

namespace couplet {

SoftDual soft_dual(const at::Tensor& noise, const at::Tensor& points, const at::Tensor& potentials, double epsilon) {
  if (!(epsilon >= 0)) refuse("semidiscrete transport with entropy {}; expected 0 or more", epsilon);
  const std::int64_t noises = noise.size(0), atoms = points.size(0);
  if (noises < 2) refuse("the dual of semidiscrete transport over {} noises; expected two at least", noises);
  const at::Tensor scores = at::addmm(potentials.to(at::kDouble), noise.to(at::kDouble), points.to(at::kDouble).t());
  SoftDual dual;
  at::Tensor values;
  if (epsilon == 0) {
    const auto [best, place] = scores.max(1);
    values = best;
    dual.probabilities = at::zeros_like(scores).scatter_(1, place.unsqueeze(1), 1.0);
  } else {
    values = epsilon * (at::logsumexp(scores / epsilon, 1) - std::log(static_cast<double>(atoms)));
    dual.probabilities = at::softmax(scores / epsilon, 1);
  }
  const auto n = static_cast<double>(atoms), b = static_cast<double>(noises);
  const at::Tensor mass = dual.probabilities.sum(0), squares = dual.probabilities.square().sum(0);
  dual.value = values.mean().item<double>() - potentials.to(at::kDouble).mean().item<double>();
  dual.gradient = mass / b - 1 / n;
  dual.chi2 = n / (b * (b - 1)) * (mass.square() - squares).sum().item<double>() - 1;
  return dual;
}

}  // namespace couplet
