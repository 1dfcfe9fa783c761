#include "pipeline/tensor/own_operation.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <cstddef>

namespace couplet {

using torch::autograd::variable_list;

variable_list gradients_with_graph(const variable_list& inputs, const at::Tensor& gradient,
                                   const std::function<at::Tensor(const variable_list&)>& output) {
  // Of aliases: what makes one input of another, such as the gate of x, is not this operation's.
  variable_list in = inputs, wanted, all(inputs.size());
  for (at::Tensor& input : in)
    if (input.defined() && input.requires_grad()) wanted.push_back(input = at::alias(input));
  const variable_list found = torch::autograd::grad({output(in)}, wanted, {gradient}, /*retain_graph=*/true,
                                                    /*create_graph=*/true, /*allow_unused=*/true);
  for (std::size_t i = 0, next = 0; i < inputs.size(); ++i)
    if (inputs[i].defined() && inputs[i].requires_grad()) all[i] = found[next++];
  return all;
}

}  // namespace couplet
