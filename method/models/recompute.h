// Activation checkpointing: what a layer computes is not kept for the backward pass but computed there again.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <utility>
#include <vector>

namespace couplet {

/// work(inputs), which must be a function of `inputs` and `parameters` alone. Of what it computes, only the inputs are
/// kept for the backward pass, which calls it once more, under the autocast of now. The gradients are the same bit for
/// bit, and have gradients themselves where those are asked for. Without gradients to record it is just `work`.
at::Tensor recomputed(const std::function<at::Tensor(const std::vector<at::Tensor>&)>& work,
                      const std::vector<at::Tensor>& inputs, const std::vector<at::Tensor>& parameters);

/// A module's output: of `layer(inputs...)`, or, where `again`, of `recomputed`.
template <class Layer, class... Inputs>
at::Tensor layer_output(bool again, Layer layer, const Inputs&... inputs) {
  if (!again) return layer(inputs...);
  const auto work = [layer]<std::size_t... I>(std::index_sequence<I...>) {
    return [layer](const std::vector<at::Tensor>& in) mutable { return layer(in[I]...); };
  }
  (std::index_sequence_for<Inputs...>());
  return recomputed(work, {inputs...}, layer->parameters());
}

}  // namespace couplet
