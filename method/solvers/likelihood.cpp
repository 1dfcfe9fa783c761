#include "method/solvers/likelihood.h"

#include "method/solvers/divergence.h"
#include "pipeline/tensor/fitting_rows.h"
#include "storage/error.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace couplet {
namespace {

/// d/dt of [path, integral of the trace]: [rows, values + 1].
at::Tensor slope_with_trace(const VelocityField& field, const at::Tensor& x, double t, const at::Tensor& probes) {
  const at::AutoGradMode with_gradients(true);
  const at::Tensor input = x.detach().requires_grad_(true);
  const at::Tensor v = field(input, t).to(input.scalar_type());
  if (v.sizes() != input.sizes()) {
    fail("the velocity field answered shape {} for a state of shape {} at t = {}", fmt::join(v.sizes(), "x"),
         fmt::join(input.sizes(), "x"), t);
  }
  const at::Tensor trace = divergence(v, input, probes);
  return at::cat({v.detach().flatten(1), trace.detach().unsqueeze(1)}, 1).to(at::kDouble);
}

/// The larger one of the errors' root mean squares, of the path and of the integral.
double larger_norm(const at::Tensor& errors) {
  const std::int64_t values = errors.size(1) - 1;
  return std::max(rms_norm(errors.narrow(1, 0, values)), rms_norm(errors.narrow(1, values, 1)));
}

}  // namespace

FlowLikelihood flow_likelihood(const FieldOfRows& field_of, const at::Tensor& x, const Tolerance& tolerance,
                               const at::Tensor& probes, double prior_scale) {
  const std::int64_t rows = x.size(0), values = x.numel() / std::max<std::int64_t>(rows, 1);
  if (probes.defined() && (probes.dim() != x.dim() + 1 || probes.sizes().slice(1) != x.sizes())) {
    fail("probes of shape {} for images of shape {}: expected one more dimension in front",
         fmt::join(probes.sizes(), "x"), fmt::join(x.sizes(), "x"));
  }
  const at::Tensor signs = probes.defined() ? probes.to(x.options()) : probes;
  const VelocityField together = [&](const at::Tensor& state, double t) {
    const at::Tensor path = state.narrow(1, 0, values).to(x.scalar_type()).view(x.sizes());
    return fitting_rows(rows, [&](std::int64_t first, std::int64_t count) {
      return slope_with_trace(field_of(first, count), path.narrow(0, first, count), t,
                              signs.defined() ? signs.narrow(1, first, count) : signs);
    });
  };
  const at::Tensor start = at::cat({x.flatten(1), at::zeros({rows, 1}, x.options())}, 1).to(at::kDouble);
  const AdaptiveSolution end = solve_adaptively(together, start, 0, 1, tolerance, larger_norm);
  const at::Tensor squares = end.x.narrow(1, 0, values).square().sum(1);
  const double constant = static_cast<double>(values) * (0.5 * std::log(2 * std::numbers::pi) + std::log(prior_scale));
  const double factor = 0.5 / (prior_scale * prior_scale);
  return {(end.x.select(1, values) - factor * squares - constant).cpu(), end.nfe};
}

FlowLikelihood flow_likelihood(const VelocityField& field, const at::Tensor& x, const Tolerance& tolerance,
                               const at::Tensor& probes, double prior_scale) {
  return flow_likelihood([&](std::int64_t, std::int64_t) { return field; }, x, tolerance, probes, prior_scale);
}

}  // namespace couplet
