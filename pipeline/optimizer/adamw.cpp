#include "pipeline/optimizer/adamw.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <optional>

namespace couplet {

AdamW::AdamW(const FlatParameters& parameters, const AdamWOptions& options, const Share& share)
    : options_(options), share_(share) {
  decaying_.weight_decay = options.weight_decay;
  for (const auto& bucket : parameters.buckets()) {
    const at::Tensor values = share_.of(bucket.values);
    averages_.push_back(at::zeros_like(values));
    square_averages_.push_back(at::zeros_like(values));
    Group& group = bucket.decays ? decaying_ : others_;
    group.parameters.push_back(values);
    group.gradients.push_back(share_.of(bucket.gradients));
    group.averages.push_back(averages_.back());
    group.square_averages.push_back(square_averages_.back());
  }
  step_ = at::empty({}, parameters.buckets().front().values.options().dtype(at::kFloat));
  divisor_ = at::ones_like(step_);
}

void AdamW::update(std::int64_t number, double learning_rate, double gradient_divisor) {
  const at::NoGradGuard no_grad;
  step_.fill_(static_cast<double>(number + 1));  // the kernel's bias correction counts from 1
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
