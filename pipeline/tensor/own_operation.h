// What operations have in common that pass over memory by themselves, forward and back.
#pragma once

#include "pipeline/tensor/bfloat16.h"

#include <ATen/core/Tensor.h>
#include <torch/csrc/autograd/variable.h>

#include <functional>

namespace couplet {

template <class T>
const T* values_of(const at::Tensor& x) {
  return static_cast<const T*>(x.const_data_ptr());
}
template <class T>
T* changed_values_of(const at::Tensor& x) {
  return static_cast<T*>(x.mutable_data_ptr());
}
/// Calls work(T()) with the type of values in float32 or bfloat16.
template <class Work>
void by_type(at::ScalarType type, const Work& work) {
  type == at::kFloat ? work(float()) : work(Bfloat16());
}

/// The gradients of those of an operation's inputs that want one, as a graph of their own, from its output's: for a
/// backward pass that is to be differentiated. `output` computes the operation by differentiable ones.
torch::autograd::variable_list gradients_with_graph(
    const torch::autograd::variable_list& inputs, const at::Tensor& gradient,
    const std::function<at::Tensor(const torch::autograd::variable_list&)>& output);

}  // namespace couplet
