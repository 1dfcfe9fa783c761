// The divergence of a velocity field, which says how it thins a density out.
#pragma once

#include <ATen/core/Tensor.h>

namespace couplet {

/// Whether gradients of a divergence are wanted: it is then itself recorded, which takes gradients of gradients.
enum class Recorded { no, yes };

/// Tr(∂v/∂x) [N] of v [N, ...], which was computed from x of that shape with gradients recorded, each row from its own.
/// Without `probes` it is exact: a backward pass for each value of a row. With probes [count, N, ...] of ±1 it is
/// Hutchinson's estimate, the mean over them of εᵀ (∂v/∂x) ε: a backward pass each, unbiased where they are independent
/// of x. 0 where v does not depend on x. Keeps v's graph where it is recorded.
at::Tensor divergence(const at::Tensor& v, const at::Tensor& x, const at::Tensor& probes,
                      Recorded recorded = Recorded::no);

}  // namespace couplet
