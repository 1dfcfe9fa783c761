#include "pipeline/optimizer/ema.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>

namespace couplet {

Ema::Ema(const FlatParameters& parameters, double rate) : rate_(rate) {
  for (const auto& bucket : parameters.buckets()) {
    parameters_.push_back(bucket.values);
    averages_.push_back(bucket.values.clone());
  }
}

double Ema::rate_at(double rate, std::int64_t number) {
  const auto count = static_cast<double>(number);
  return std::min(rate, (1 + count) / (10 + count));
}

void Ema::update(std::int64_t number) {
  const at::NoGradGuard no_grad;
  at::_foreach_lerp_(averages_, parameters_, 1 - rate_at(rate_, number));
}

std::string ema_file(std::size_t index, double rate) {
  return index == 0 ? "ema.safetensors" : fmt::format("ema-{}.safetensors", rate);
}

}  // namespace couplet
