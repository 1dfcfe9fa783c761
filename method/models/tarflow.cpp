#include "method/models/tarflow.h"

#include "method/models/patches.h"
#include "method/models/recompute.h"
#include "pipeline/tensor/fitting_rows.h"
#include "pipeline/tensor/flops.h"
#include "pipeline/tensor/residual_branch.h"
#include "pipeline/tensor/transformer_ops.h"
#include "pipeline/tensor/weights.h"
#include "storage/error.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/variable.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numbers>
#include <span>
#include <string>

namespace couplet {
namespace {

constexpr std::int64_t mlp_expansion = 4;
constexpr double tarflow_embedding_std = 1e-2;
constexpr double prior_rate = 0.1;

}  // namespace

void check(const TarFlowOptions& o) {
  for (const auto& [name, value] :
       {std::pair{"patch", o.patch}, {"channels", o.channels}, {"blocks", o.blocks}, {"head-size", o.head_size}}) {
    if (value < 1) refuse("{}.{} = {}: must be at least 1", o.section, name, value);
  }
  if (o.layers.empty() || std::ranges::min(o.layers) < 1)
    refuse("{}.layers = {}: every block has at least 1", o.section, fmt::join(o.layers, " "));
  if (o.layers.size() != 1 && std::ssize(o.layers) != o.blocks)
    refuse("{0}.layers = {1}: layers of {2} blocks, but {0}.blocks = {3}; give one number for all, or one each",
           o.section, fmt::join(o.layers, " "), o.layers.size(), o.blocks);
  if (!o.nvp && o.clip_scale > 0)
    refuse("teacher.clip-scale = {} with teacher.variant = vp, which has no scale: teacher.clip-shift bounds its shift",
           o.clip_scale);
  if (o.dropout > 0 && 2 * o.all_layers() > DropoutDraws::most_parts)
    refuse("teacher.dropout = {} with {} layers in all: it is drawn for {} at most", o.dropout, o.all_layers(),
           DropoutDraws::most_parts / 2);
  if (o.channels % o.head_size != 0) {
    const auto above = (o.channels / o.head_size + 1) * o.head_size;
    refuse("{0}.channels = {1} is not a multiple of {0}.head-size = {2}: the next one is {3}", o.section, o.channels,
           o.head_size, above);
  }
  if (o.image_size % o.patch != 0 || o.image_size <= o.patch) {
    refuse("{}.patch = {} does not cut images of {}x{} into two or more whole patches", o.section, o.patch,
           o.image_size, o.image_size);
  }
}

std::int64_t TarFlowOptions::all_layers() const {
  std::int64_t all = 0;
  for (std::int64_t block = 0; block < blocks; ++block) all += layers_of(block);
  return all;
}

double forward_flops(const TarFlowOptions& o) {
  const auto context = o.tokens() - 1;  // the last token does not enter the transformer
  const double in = product_flops(context, o.token_size(), o.channels);
  const double layers =
      static_cast<double>(o.all_layers()) * transformer_layer_flops(context, o.channels, mlp_expansion * o.channels);
  const double out = product_flops(context, o.channels, o.token_size() * (o.nvp ? 2 : 1));
  return static_cast<double>(o.blocks) * (in + out) + layers;
}

std::int64_t parameter_count(const TarFlowOptions& o) {
  const auto c = o.channels, outputs = o.token_size() * (o.nvp ? 2 : 1);
  // Two norms, query, key and value, output, the MLP's two layers; weights and biases.
  const auto layer = 4 * c + (4 + 2 * mlp_expansion) * c * c + (5 + mlp_expansion) * c;
  const auto embeddings = (o.tokens() + o.num_classes) * c;
  return o.blocks * (o.token_size() * c + c + embeddings + c * outputs + outputs) + o.all_layers() * layer;
}

TarFlowLayerImpl::TarFlowLayerImpl(std::int64_t channels, std::int64_t head_size, const DropoutDraws& dropout)
    : heads(channels / head_size), attention_dropout(dropout), mlp_dropout(dropout) {
  ++mlp_dropout.part;
  using torch::nn::LayerNorm, torch::nn::LayerNormOptions, torch::nn::Linear;
  auto& attention = add_scope(*this, "attention");
  attention_norm = attention.register_module("norm", LayerNorm(LayerNormOptions({channels})));
  qkv = attention.register_module("qkv", Linear(channels, 3 * channels));
  proj = attention.register_module("proj", Linear(channels, channels));
  auto& mlp = add_scope(*this, "mlp");
  mlp_norm = mlp.register_module("norm", LayerNorm(LayerNormOptions({channels})));
  auto& main = add_scope(mlp, "main");
  mlp_in = main.register_module("0", Linear(channels, mlp_expansion * channels));
  mlp_out = main.register_module("2", Linear(mlp_expansion * channels, channels));
}

at::Tensor TarFlowLayerImpl::forward(const at::Tensor& x, const at::Tensor& positions) {
  const auto branch = [&](const torch::nn::LayerNorm& norm, const torch::nn::Linear& in, const torch::nn::Linear& out,
                          const at::Tensor& mask) {
    return ResidualBranch{.eps = norm->options.eps(),
                          .factor = norm->weight,
                          .offset = norm->bias,
                          .in_weight = in->weight,
                          .in_bias = in->bias,
                          .out_weight = out->weight,
                          .out_bias = out->bias,
                          .gate = {},
                          .mask = mask};
  };
  const auto seen = branch(attention_norm, qkv, proj, attention_dropout.mask_if_any(x, positions));
  const auto attended = with_attention(x, seen, heads, /*causal=*/true);
  return with_mlp(attended, branch(mlp_norm, mlp_in, mlp_out, mlp_dropout.mask_if_any(x, positions)), Gelu::erf);
}

TarFlowBlockImpl::TarFlowBlockImpl(const TarFlowOptions& o, std::int64_t own_layers, bool reads_backwards,
                                   const DropoutDraws& dropout)
    : nvp(o.nvp),
      recompute(o.recompute),
      backwards(reads_backwards),
      clip_scale(o.clip_scale),
      clip_shift(o.clip_shift) {
  using torch::nn::Linear;
  proj_in = register_module("proj_in", Linear(o.token_size(), o.channels));
  pos_embed = register_parameter("pos_embed", at::randn({o.tokens(), o.channels}) * tarflow_embedding_std);
  if (o.num_classes > 0) {
    class_embed = register_parameter("class_embed", at::randn({o.num_classes, 1, o.channels}) * tarflow_embedding_std);
  }
  auto& list = add_scope(*this, "attn_blocks");
  for (std::int64_t i = 0; i < own_layers; ++i) {
    DropoutDraws own = dropout;
    own.part += 2 * i;
    layers.push_back(list.register_module(std::to_string(i), TarFlowLayer(o.channels, o.head_size, own)));
  }
  proj_out = register_module("proj_out", Linear(o.channels, o.token_size() * (o.nvp ? 2 : 1)));
  const at::NoGradGuard no_grad;
  proj_out->weight.zero_();
}

at::Tensor TarFlowBlockImpl::label_rows(const at::Tensor& y) const {
  if (!class_embed.defined()) return {};
  const auto classes = class_embed.size(0);
  const auto table = class_embed.squeeze(1);
  const auto mean = table.mean(0, /*keepdim=*/true);
  if (!y.defined()) return mean;
  // The mean as one more row: no look at the labels' values, so no wait for the device.
  return at::embedding(at::cat({table, mean}), at::where(y < 0, classes, y));
}

at::Tensor TarFlowBlockImpl::bounded(const at::Tensor& affine) const {
  const auto within = [](const at::Tensor& values, double bound) {
    return bound > 0 ? bound * at::tanh(values / bound) : values;
  };
  if (clip_scale == 0 && clip_shift == 0) return affine;
  if (!nvp) return within(affine, clip_shift);
  const auto parts = affine.chunk(2, -1);
  return at::cat({within(parts[0], clip_scale), within(parts[1], clip_shift)}, -1);
}

TarFlowOutput TarFlowBlockImpl::forward(const at::Tensor& image_order, const at::Tensor& y,
                                        const at::Tensor& positions) {
  const auto tokens = backwards ? image_order.flip({1}) : image_order;
  const auto places = backwards ? pos_embed.flip({0}) : pos_embed;
  const auto rows = tokens.size(0), count = tokens.size(1), size = tokens.size(2);
  // The last token conditions none, so it does not enter the transformer; the first is left as it is.
  const auto context = count - 1;
  auto x = linear(tokens.narrow(1, 0, context), proj_in) + places.narrow(0, 0, context);
  if (const auto labels = label_rows(y); labels.defined()) x = x + labels.unsqueeze(1);
  for (auto& layer : layers) x = layer_output(recompute, layer, x, positions);
  const auto affine = bounded(linear(x, proj_out).to(tokens.scalar_type()));

  const auto first = tokens.narrow(1, 0, 1), rest = tokens.narrow(1, 1, context);
  at::Tensor moved, logdet;
  if (nvp) {
    const auto a = affine.narrow(2, 0, size), b = affine.narrow(2, size, size);
    moved = (rest - b) * at::exp(-a);
    logdet = a.sum({1, 2}) * (-1.0 / static_cast<double>(count * size));
  } else {
    moved = rest - affine;
    logdet = at::zeros({rows}, tokens.options());
  }
  const auto z = at::cat({first, moved}, 1);
  return {backwards ? z.flip({1}) : z, logdet};
}

TarFlowImpl::TarFlowImpl(const TarFlowOptions& options, std::uint64_t seed) : options_(options) {
  check(options);
  auto& list = add_scope(*this, "blocks");
  DropoutDraws dropout{options.dropout, seed, 0, Purpose::teacher_dropout};
  for (std::int64_t i = 0; i < options.blocks; ++i) {
    const auto layers = options.layers_of(i);
    blocks_.push_back(list.register_module(std::to_string(i), TarFlowBlock(options, layers, i % 2 == 1, dropout)));
    dropout.part += 2 * layers;
  }
  var_ = register_buffer("var", at::ones({options.tokens(), options.token_size()}));
}

TarFlowOutput TarFlowImpl::forward(const at::Tensor& x, const at::Tensor& y, const at::Tensor& positions) {
  TarFlowOutput output{patchify(x, options_.patch), at::zeros({x.size(0)}, x.options())};
  // A layer that is computed again is given tensors alone.
  const auto places = positions.defined() ? positions : at::empty({0}, x.options().dtype(at::kLong));
  for (auto& block : blocks_) {
    const auto step = block(output.z, y, places);
    output = {step.z, output.logdet + step.logdet};
  }
  return output;
}

std::vector<at::Tensor> TarFlowImpl::states(const at::Tensor& x, const at::Tensor& y, std::int64_t first_blocks) {
  const auto places = at::empty({0}, x.options().dtype(at::kLong));
  std::vector<at::Tensor> states;
  auto tokens = patchify(x, options_.patch);
  for (auto& block : std::span(blocks_).first(static_cast<std::size_t>(first_blocks))) {
    tokens = block(tokens, y, places).z;
    states.push_back(unpatchify(tokens, options_.in_channels, options_.image_size, options_.patch));
  }
  return states;
}

at::Tensor TarFlowImpl::loss(const TarFlowOutput& output) const {
  return 0.5 * output.z.square().mean() - output.logdet.mean();
}

at::Tensor TarFlowImpl::negative_log_likelihood(const TarFlowOutput& output) const {
  const auto log_normal = 0.5 * (output.z.square() / var_ + var_.log()).mean({1, 2});
  return log_normal + 0.5 * std::log(2 * std::numbers::pi) - output.logdet;
}

at::Tensor TarFlowImpl::standardised(const at::Tensor& z) const {
  return options_.nvp ? z : z / var_.sqrt();
}

void TarFlowImpl::update_prior(const at::Tensor& mean_square) {
  if (options_.nvp) return;
  const at::NoGradGuard no_grad;
  var_.lerp_(mean_square.detach(), prior_rate);
}

TarFlow make_tarflow(const TarFlowOptions& options, std::uint64_t seed) {
  torch::manual_seed(seed);
  return TarFlow(options, seed);
}

NamedTensors export_tarflow(const NamedTensors& tensors, const TarFlowOptions& options) {
  auto exported = tensors;
  for (std::int64_t i = 0; i < options.blocks; ++i) {
    exported["blocks." + std::to_string(i) + ".attn_mask"] = at::ones({options.tokens(), options.tokens()}).tril();
  }
  return exported;
}

at::Tensor denoise(TarFlow& model, const at::Tensor& x_noisy, const at::Tensor& y, double noise_std) {
  return by_fitting_rows(x_noisy.size(0), x_noisy.device(), [&](std::int64_t first, std::int64_t count) {
    const at::AutoGradMode with_grad(true);
    const auto x = x_noisy.narrow(0, first, count).detach().clone().requires_grad_();
    const auto labels = y.defined() ? y.narrow(0, first, count) : y;
    const auto values = static_cast<double>(x.size(1) * x.size(2) * x.size(3));
    const auto log_density = model->negative_log_likelihood(model(x, labels)).sum() * -values;
    const auto gradient = torch::autograd::grad({log_density}, {x}).front();
    return x.detach() + noise_std * noise_std * gradient;
  });
}

}  // namespace couplet
