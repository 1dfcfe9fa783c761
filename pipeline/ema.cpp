#include "pipeline/ema.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace couplet {

Ema::Ema(const NamedTensors& parameters, double rate) : rate_(rate) {
  for (const auto& [name, parameter] : parameters) {
    from_.push_back(parameter.detach());
    to_.push_back(parameter.detach().clone());
    averages_[name] = to_.back();
  }
}

double Ema::rate_at(double rate, std::int64_t step) {
  const auto count = static_cast<double>(step);
  return std::min(rate, (1 + count) / (10 + count));
}

void Ema::update(std::int64_t step) {
  const at::NoGradGuard no_grad;
  at::_foreach_lerp_(to_, from_, 1 - rate_at(rate_, step));
}

}  // namespace couplet
