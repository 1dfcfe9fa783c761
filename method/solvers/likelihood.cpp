#include "method/solvers/likelihood.h"

#include "pipeline/liveness/activity.h"
#include "pipeline/tensor/fitting_rows.h"
#include "pipeline/tensor/random.h"
#include "storage/error.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <span>

namespace couplet {
namespace {

/// Σ over values of `output` · `weight`, differentiated by `input`.
at::Tensor pulled_back(const at::Tensor& output, const at::Tensor& weight, const at::Tensor& input, bool keep_graph) {
  const auto gradients = torch::autograd::grad({output}, {input}, {weight}, keep_graph, /*create_graph=*/false,
                                               /*allow_unused=*/true);
  return gradients.front().defined() ? gradients.front() : at::zeros_like(input);
}

at::Tensor exact_trace(const at::Tensor& v, const at::Tensor& x) {
  const std::int64_t values = x.numel() / x.size(0);
  at::Tensor trace = at::zeros({x.size(0)}, x.options());
  at::Tensor direction = at::zeros_like(v);
  for (std::int64_t i = 0; i < values; ++i) {
    note_progress();
    direction.zero_();
    direction.view({x.size(0), -1}).select(1, i).fill_(1);
    trace += pulled_back(v, direction, x, i + 1 < values).flatten(1).select(1, i);
  }
  return trace;
}

at::Tensor estimated_trace(const at::Tensor& v, const at::Tensor& x, const at::Tensor& probes) {
  const std::int64_t count = probes.size(0);
  at::Tensor trace = at::zeros({x.size(0)}, x.options());
  for (std::int64_t i = 0; i < count; ++i) {
    trace += (pulled_back(v, probes[i], x, i + 1 < count) * probes[i]).flatten(1).sum(1);
  }
  return trace / static_cast<double>(count);
}

/// d/dt of [path, integral of the trace]: [rows, values + 1].
at::Tensor slope_with_trace(const VelocityField& field, const at::Tensor& x, double t, const at::Tensor& probes) {
  const at::AutoGradMode with_gradients(true);
  const at::Tensor input = x.detach().requires_grad_(true);
  const at::Tensor v = field(input, t).to(input.scalar_type());
  if (v.sizes() != input.sizes()) {
    fail("the velocity field answered shape {} for a state of shape {} at t = {}", fmt::join(v.sizes(), "x"),
         fmt::join(input.sizes(), "x"), t);
  }
  at::Tensor trace = at::zeros({x.size(0)}, x.options());
  if (v.requires_grad()) trace = probes.defined() ? estimated_trace(v, input, probes) : exact_trace(v, input);
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

at::Tensor rademacher_probes(std::int64_t count, const std::vector<std::int64_t>& shape, std::uint64_t seed,
                             const std::vector<std::int64_t>& rows) {
  std::vector<std::int64_t> sizes{count, static_cast<std::int64_t>(rows.size())};
  sizes.insert(sizes.end(), shape.begin(), shape.end());
  at::Tensor signs = at::empty(sizes, at::kFloat);
  for (std::int64_t probe = 0; probe < count; ++probe) {
    for (std::size_t i = 0; i < rows.size(); ++i) {
      Draws draws(seed, Purpose::likelihood_probe, static_cast<std::uint64_t>(rows[i] * count + probe));
      at::Tensor row = signs[probe][static_cast<std::int64_t>(i)];
      const std::span<float> values(row.data_ptr<float>(), static_cast<std::size_t>(row.numel()));
      for (float& value : values) value = draws.bits() & 1 ? 1.0f : -1.0f;
    }
  }
  return signs;
}

}  // namespace couplet
