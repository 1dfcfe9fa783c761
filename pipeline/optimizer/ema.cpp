#include "pipeline/optimizer/ema.h"

#include "storage/error.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/ranges.h>
#include <torch/nn/module.h>

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

std::string ema_file(std::size_t index, double rate) {
  return index == 0 ? "ema.safetensors" : fmt::format("ema-{}.safetensors", rate);
}

}  // namespace couplet
