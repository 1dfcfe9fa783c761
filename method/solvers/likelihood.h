// Likelihood of images under the flow that a velocity field generates, by the probability-flow ODE.
#pragma once

#include "method/solvers/dopri5.h"
#include "method/solvers/velocity_field.h"

#include <cstdint>
#include <functional>

namespace couplet {

using FieldOfRows = std::function<VelocityField(std::int64_t first, std::int64_t count)>;

struct FlowLikelihood {
  at::Tensor nats;       ///< float64 [rows] on the CPU: log p_0(x)
  std::int64_t nfe = 0;  ///< evaluations of the field with its trace, of the batch
};

/// log p_0(x) = log N(x_1; 0, s² I) + ∫₀¹ Tr(∂v/∂x)(x_t, t) dt along the path from x at t = 0, by dopri5 over path and
/// integral together (float64; the field is asked in x's type, with gradients). The error norm is the larger of the
/// two's root mean squares. Without `probes` the trace is exact: a backward pass for each value of an image, so for
/// few values only. With probes [count, rows, shape of a row] of ±1 it is Hutchinson's estimate, mean of εᵀ(∂v/∂x)ε,
/// unbiased in the integral as ε stays the same along a path: a backward pass a probe. `prior_scale`: s.
///
/// The rows take the same steps. An evaluation of the field with its trace takes as many of them at once as a
/// FittingRows has it; `field_of` gives the field of rows [first, first + count).
FlowLikelihood flow_likelihood(const FieldOfRows& field_of, const at::Tensor& x, const Tolerance& tolerance,
                               const at::Tensor& probes = {}, double prior_scale = 1);
/// Of a field that is the same for all rows.
FlowLikelihood flow_likelihood(const VelocityField& field, const at::Tensor& x, const Tolerance& tolerance,
                               const at::Tensor& probes = {}, double prior_scale = 1);

}  // namespace couplet
