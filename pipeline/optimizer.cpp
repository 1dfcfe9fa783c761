#include "pipeline/optimizer.h"

#include "storage/error.h"

#include <ATen/ATen.h>

#include <optional>

namespace couplet {

AdamW::AdamW(const NamedTensors& parameters, const AdamWOptions& options) : options_(options) {
  if (parameters.empty()) fail("the model has no parameters to train");
  decaying_.weight_decay = options.weight_decay;
  for (const auto& [name, parameter] : parameters) {
    if (!parameter.grad().defined()) fail("parameter {} has no gradient buffer: make FlatGradients before AdamW", name);
    Group& group = parameter.dim() >= 2 ? decaying_ : others_;
    const auto value = parameter.detach();
    group.parameters.push_back(value);
    group.gradients.push_back(parameter.grad());
    group.averages.push_back(at::zeros_like(value));
    group.square_averages.push_back(at::zeros_like(value));
    state_[name + ".exp_avg"] = group.averages.back();
    state_[name + ".exp_avg_sq"] = group.square_averages.back();
  }
  step_ = at::empty({}, parameters.begin()->second.options().dtype(at::kFloat).requires_grad(false));
  divisor_ = at::ones_like(step_);
}

void AdamW::update(std::int64_t step, double learning_rate, double gradient_divisor) {
  const at::NoGradGuard no_grad;
  step_.fill_(static_cast<double>(step + 1));  // the kernel's bias correction counts from 1
  divisor_.fill_(gradient_divisor);
  update(decaying_, learning_rate);
  update(others_, learning_rate);
}

void AdamW::update(Group& group, double learning_rate) {
  if (group.parameters.empty()) return;
  const std::vector<at::Tensor> steps(group.parameters.size(), step_);
  at::_fused_adamw_(group.parameters, group.gradients, group.averages, group.square_averages, /*max_exp_avg_sqs=*/{},
                    steps, learning_rate, options_.beta1, options_.beta2, group.weight_decay, options_.epsilon,
                    /*amsgrad=*/false,
                    /*maximize=*/false, divisor_, /*found_inf=*/std::nullopt);
}

}  // namespace couplet
