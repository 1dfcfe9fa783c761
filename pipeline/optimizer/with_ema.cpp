#include "pipeline/optimizer/with_ema.h"

#include "storage/error.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

namespace couplet {

WithEma::WithEma(const torch::nn::Module& model, const NamedTensors& averages) {
  const auto parameters = model.named_parameters();
  for (const auto& [name, average] : averages) {
    const at::Tensor* parameter = parameters.find(name);
    if (!parameter) continue;  // a buffer
    if (parameter->sizes() != average.sizes() || parameter->scalar_type() != average.scalar_type()) {
      fail("the average of {} is {} of shape [{}], the parameter {} of shape [{}]", name,
           at::toString(average.scalar_type()), fmt::join(average.sizes(), ", "),
           at::toString(parameter->scalar_type()), fmt::join(parameter->sizes(), ", "));
    }
    pairs_.emplace_back(parameter->detach(), average);
  }
  if (pairs_.empty()) fail("none of {} averages belongs to a parameter of the model", averages.size());
  swap_values();
}

WithEma::~WithEma() {
  swap_values();
}

void WithEma::swap_values() {
  const at::NoGradGuard no_grad;
  for (auto& [parameter, average] : pairs_) {
    const at::Tensor raw = parameter.clone();
    parameter.copy_(average);
    average.copy_(raw);
  }
}

}  // namespace couplet
