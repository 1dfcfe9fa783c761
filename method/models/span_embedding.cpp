#include "method/models/span_embedding.h"

#include "pipeline/tensor/flops.h"
#include "pipeline/tensor/transformer_ops.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/nn/init.h>
#include <torch/utils.h>

#include <algorithm>
#include <string>
#include <utility>

namespace couplet {
namespace {

constexpr const char* span_scope = "span_embed";

}  // namespace

SpanEmbeddingImpl::SpanEmbeddingImpl(std::int64_t waves, std::int64_t channels) {
  in_ = register_module("0", torch::nn::Linear(waves, channels));
  out_ = register_module("2", torch::nn::Linear(channels, channels));
  const at::NoGradGuard no_grad;
  torch::nn::init::zeros_(out_->weight);
  torch::nn::init::zeros_(out_->bias);
}

at::Tensor SpanEmbeddingImpl::forward(const at::Tensor& waves) {
  return linear(at::silu(linear(waves.to(in_->weight.scalar_type()), in_)), out_);
}

SpanEmbedding add_span_embedding(torch::nn::Module& field, std::int64_t waves, std::int64_t channels) {
  return field.register_module(span_scope, SpanEmbedding(waves, channels));
}

at::Tensor spans_of(const at::Tensor& span, const at::Tensor& t) {
  return span.defined() ? span.to(t.options()) : at::zeros_like(t);
}

std::int64_t span_parameters(std::int64_t waves, std::int64_t channels) {
  return (waves + 1) * channels + (channels + 1) * channels;
}

double span_flops(std::int64_t waves, std::int64_t channels) {
  return product_flops(1, waves, channels) + product_flops(1, channels, channels);
}

NamedTensors with_span_embedding(NamedTensors weights, const torch::nn::Module& field) {
  const auto of_span = [](const auto& named) { return named.first.starts_with(std::string(span_scope) + "."); };
  if (std::ranges::any_of(weights, of_span)) return weights;
  for (const auto& named : named_tensors(field))
    if (of_span(named)) weights.insert(named);
  return weights;
}

}  // namespace couplet
