#include "method/models/fields/unet_blocks.h"

#include "pipeline/tensor/group_norm.h"
#include "pipeline/tensor/transformer_ops.h"
#include "pipeline/tensor/weights.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/nn/init.h>
#include <torch/utils.h>

#include <optional>
#include <string>

namespace couplet {
namespace {

constexpr double group_norm_eps = 1e-5;

torch::nn::GroupNorm group_norm(torch::nn::Module& parent, const std::string& name, std::int64_t channels) {
  return parent.register_module(
      name, torch::nn::GroupNorm(torch::nn::GroupNormOptions(unet_norm_groups, channels).eps(group_norm_eps)));
}

torch::nn::Conv2d convolution(torch::nn::Module& parent, const std::string& name, std::int64_t in, std::int64_t out,
                              std::int64_t kernel, std::int64_t stride = 1) {
  const auto options = torch::nn::Conv2dOptions(in, out, kernel).stride(stride).padding(kernel / 2);
  return parent.register_module(name, torch::nn::Conv2d(options));
}

template <class Layer>
void set_to_zero(Layer& layer) {
  const at::NoGradGuard no_grad;
  torch::nn::init::zeros_(layer->weight);
  torch::nn::init::zeros_(layer->bias);
}

at::Tensor enlarged(const at::Tensor& x) {
  return at::upsample_nearest2d(x, {2 * x.size(2), 2 * x.size(3)});
}

at::Tensor resampled(const at::Tensor& x, Resampling resampling) {
  if (resampling == Resampling::none) return x;
  return resampling == Resampling::up ? enlarged(x) : at::avg_pool2d(x, 2);
}

}  // namespace

at::Tensor normed_silu(const at::Tensor& x, const torch::nn::GroupNorm& norm, const at::Tensor& scale,
                       const at::Tensor& shift) {
  return group_norm(x, norm->weight, norm->bias, {unet_norm_groups, group_norm_eps, /*silu=*/true}, scale, shift);
}

UNetResidual::UNetResidual(const UNetOptions& o, const UNetPart& part, const DropoutDraws& dropout)
    : part_(part), scale_shift_(o.scale_shift), dropout_(dropout) {
  auto& in_layers = add_scope(*this, "in_layers");
  in_norm_ = group_norm(in_layers, "0", part.in);
  in_conv_ = convolution(in_layers, "2", part.in, part.out, 3);
  embedding_ = add_scope(*this, "emb_layers")
                   .register_module("1", torch::nn::Linear(embedding_channels(o), (scale_shift_ ? 2 : 1) * part.out));
  auto& out_layers = add_scope(*this, "out_layers");
  out_norm_ = group_norm(out_layers, "0", part.out);
  out_conv_ = convolution(out_layers, "3", part.out, part.out, 3);
  set_to_zero(out_conv_);
  if (part.in != part.out) skip_ = convolution(*this, "skip_connection", part.in, part.out, 1);
}

at::Tensor UNetResidual::forward(const at::Tensor& x, const at::Tensor& embedding, const at::Tensor& positions) {
  at::Tensor h = in_conv_(resampled(normed_silu(x, in_norm_), part_.resampling));
  const at::Tensor e = linear(embedding, embedding_);
  if (scale_shift_) {
    const auto parts = e.chunk(2, 1);  // scale, then shift
    h = normed_silu(h, out_norm_, parts[0], parts[1]);
  } else {
    h = normed_silu(h + e.to(h.scalar_type()).unsqueeze(2).unsqueeze(3), out_norm_);
  }
  h = dropout_.applied(h, positions);
  const at::Tensor straight = resampled(x, part_.resampling);
  return (skip_ ? skip_(straight) : straight) + out_conv_(h);
}

UNetAttention::UNetAttention(const UNetOptions& o, const UNetPart& part)
    : heads_(o.head_channels > 0 ? part.in / o.head_channels : o.heads), new_order_(o.new_attention_order) {
  norm_ = group_norm(*this, "norm", part.in);
  qkv_ = register_module("qkv", torch::nn::Conv1d(torch::nn::Conv1dOptions(part.in, 3 * part.in, 1)));
  projection_ = register_module("proj_out", torch::nn::Conv1d(torch::nn::Conv1dOptions(part.in, part.in, 1)));
  set_to_zero(projection_);
}

at::Tensor UNetAttention::forward(const at::Tensor& x, const at::Tensor&, const at::Tensor&) {
  const auto rows = x.size(0), channels = x.size(1), tokens = x.size(2) * x.size(3);
  const at::Tensor normed = group_norm(x, norm_->weight, norm_->bias, {unet_norm_groups, group_norm_eps});
  const at::Tensor sequence = normed.flatten(2).transpose(1, 2).contiguous();  // [N, T, C]
  // A convolution with a kernel of one is a linear layer on tokens.
  const at::Tensor qkv = linear(sequence, qkv_->weight.squeeze(2), qkv_->bias);
  const auto parts = new_order_ ? qkv.view({rows, tokens, 3, heads_, -1}).permute({2, 0, 3, 1, 4}).unbind(0)
                                : qkv.view({rows, tokens, heads_, 3, -1}).permute({3, 0, 2, 1, 4}).unbind(0);
  const at::Tensor mixed =
      attention(parts[0], parts[1], parts[2], /*causal=*/false).transpose(1, 2).reshape({rows, tokens, channels});
  const at::Tensor out = linear(mixed, projection_->weight.squeeze(2), projection_->bias);
  return x + out.transpose(1, 2).reshape(x.sizes());
}

UNetResampling::UNetResampling(const UNetOptions& o, const UNetPart& part) : resampling_(part.resampling) {
  const bool up = resampling_ == Resampling::up;
  if (o.conv_resample) convolution_ = convolution(*this, up ? "conv" : "op", part.in, part.out, 3, up ? 1 : 2);
}

at::Tensor UNetResampling::forward(const at::Tensor& x, const at::Tensor&, const at::Tensor&) {
  if (!convolution_) return resampled(x, resampling_);
  return convolution_(resampling_ == Resampling::up ? enlarged(x) : x);
}

std::shared_ptr<UNetPartModule> make_part(const UNetOptions& o, const UNetPart& part, const DropoutDraws& dropout) {
  switch (part.kind) {
    case UNetPart::Kind::residual:
      return std::make_shared<UNetResidual>(o, part, dropout);
    case UNetPart::Kind::attention:
      return std::make_shared<UNetAttention>(o, part);
    default:
      return std::make_shared<UNetResampling>(o, part);
  }
}

}  // namespace couplet
