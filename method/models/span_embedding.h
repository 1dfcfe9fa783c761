// What tells a field over which span of time it is asked for the mean velocity (Condition::span): a second embedding,
// beside that of the time. A field has one only where FieldOptions::spans is set.
#pragma once

#include "pipeline/tensor/weights.h"

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/pimpl.h>

#include <cstdint>

namespace couplet {

/// Two layers over waves of the span, [N, waves] to [N, channels], with SiLU between. The last one starts at zero: so
/// does the embedding. Parameters: `span_embed.0`, `span_embed.2`.
class SpanEmbeddingImpl : public torch::nn::Module {
public:
  SpanEmbeddingImpl(std::int64_t waves, std::int64_t channels);
  at::Tensor forward(const at::Tensor& waves);

private:
  torch::nn::Linear in_{nullptr}, out_{nullptr};
};
TORCH_MODULE(SpanEmbedding);

/// The span embedding of a field, drawn now: after all else, which then starts as in a field without spans.
SpanEmbedding add_span_embedding(torch::nn::Module& field, std::int64_t waves, std::int64_t channels);
/// The spans of a condition beside times t, [N] of their type: 0 where it says none.
at::Tensor spans_of(const at::Tensor& span, const at::Tensor& t);

/// Trained numbers, and floating-point operations of the matrix products of a row.
std::int64_t span_parameters(std::int64_t waves, std::int64_t channels);
double span_flops(std::int64_t waves, std::int64_t channels);

/// Weights for `field`: of a field without spans, with the first ones of the field's own span embedding; others as they
/// are.
NamedTensors with_span_embedding(NamedTensors weights, const torch::nn::Module& field);

}  // namespace couplet
