#include "method/solvers/divergence.h"

#include "pipeline/liveness/activity.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <cstdint>

namespace couplet {
namespace {

/// Σ over values of v · direction, differentiated by x.
at::Tensor pulled_back(const at::Tensor& v, const at::Tensor& direction, const at::Tensor& x, bool keep_graph,
                       Recorded recorded) {
  const bool twice = recorded == Recorded::yes;
  const auto gradients = torch::autograd::grad({v}, {x}, {direction}, keep_graph || twice, /*create_graph=*/twice,
                                               /*allow_unused=*/true);
  return gradients.front().defined() ? gradients.front() : at::zeros_like(x);
}

at::Tensor exact(const at::Tensor& v, const at::Tensor& x, Recorded recorded) {
  const std::int64_t rows = x.size(0), values = x.numel() / rows;
  at::Tensor trace = at::zeros({rows}, x.options());
  for (std::int64_t i = 0; i < values; ++i) {
    note_progress();
    const at::Tensor direction = at::zeros_like(v, at::MemoryFormat::Contiguous);
    direction.view({rows, -1}).select(1, i).fill_(1);
    trace = trace + pulled_back(v, direction, x, i + 1 < values, recorded).flatten(1).select(1, i);
  }
  return trace;
}

at::Tensor estimated(const at::Tensor& v, const at::Tensor& x, const at::Tensor& probes, Recorded recorded) {
  const std::int64_t count = probes.size(0);
  at::Tensor trace = at::zeros({x.size(0)}, x.options());
  for (std::int64_t i = 0; i < count; ++i)
    trace = trace + (pulled_back(v, probes[i], x, i + 1 < count, recorded) * probes[i]).flatten(1).sum(1);
  return trace / static_cast<double>(count);
}

}  // namespace

at::Tensor divergence(const at::Tensor& v, const at::Tensor& x, const at::Tensor& probes, Recorded recorded) {
  if (!v.requires_grad()) return at::zeros({x.size(0)}, x.options());
  return probes.defined() ? estimated(v, x, probes, recorded) : exact(v, x, recorded);
}

}  // namespace couplet
