#include "method/models/fields/sit.h"

#include "method/models/patches.h"
#include "method/models/recompute.h"
#include "pipeline/tensor/flops.h"
#include "pipeline/tensor/residual_branch.h"
#include "pipeline/tensor/transformer_ops.h"
#include "pipeline/tensor/weights.h"
#include "storage/error.h"
#include "storage/text.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/grad_mode.h>
#include <torch/nn/init.h>
#include <torch/utils.h>

#include <cmath>
#include <memory>
#include <string>
#include <utility>

namespace couplet {
namespace {

constexpr std::int64_t frequency_count = 128;  ///< of the time embedding: cosines, then sines
constexpr double largest_period = 10000;
constexpr double norm_eps = 1e-6;
constexpr double sit_embedding_std = 0.02;

/// layer_norm(x)·(1 + scale) + shift, with one shift and scale a row. x: [N, T, channels]; shift, scale: [N, channels].
at::Tensor modulated(const at::Tensor& x, const at::Tensor& shift, const at::Tensor& scale) {
  const auto normed = at::layer_norm(x, {x.size(-1)}, {}, {}, norm_eps);
  return at::addcmul(shift.unsqueeze(1), normed, (1 + scale).unsqueeze(1));
}

/// ω_k = 10000^(-k/128), in radians a unit of time (models.py, timestep_embedding).
at::Tensor time_frequencies(const at::TensorOptions& options) {
  return at::exp(at::arange(frequency_count, options) * (-std::log(largest_period) / frequency_count));
}

std::int64_t mlp_channels(const SiTOptions& o) {
  return static_cast<std::int64_t>(static_cast<double>(o.channels) * o.mlp_ratio);
}

/// Cosines and sines of times or spans: float32 [N, 2 · frequency_count].
at::Tensor time_waves(const at::Tensor& t) {
  const auto angles = t.to(at::kFloat).unsqueeze(1) * time_frequencies(t.options().dtype(at::kFloat));
  return at::cat({angles.cos(), angles.sin()}, 1);
}

at::Tensor& tensor_of(NamedTensors& tensors, const std::string& name) {
  const auto found = tensors.find(name);
  if (found == tensors.end()) fail("these are no SiT weights: {} is missing", name);
  return found->second;
}

}  // namespace

SiTOptions sit_options(const FieldOptions& o) {
  return {.in_channels = o.image_channels,
          .image_size = o.image_size,
          .patch = o.patch,
          .channels = o.channels,
          .depth = o.depth,
          .heads = o.heads,
          .num_classes = o.num_classes,
          .recompute = o.recompute,
          .condition_channels = o.condition_channels,
          .spans = o.spans};
}

double forward_flops(const SiTOptions& o) {
  const auto side = o.image_size / o.patch, tokens = side * side, pixels = o.patch * o.patch * o.in_channels;
  const double in = product_flops(tokens, o.patch * o.patch * o.embedded_channels(), o.channels);
  const double time = product_flops(1, 2 * frequency_count, o.channels) + product_flops(1, o.channels, o.channels);
  const double block =
      transformer_layer_flops(tokens, o.channels, mlp_channels(o)) + product_flops(1, o.channels, 6 * o.channels);
  const double out = product_flops(1, o.channels, 2 * o.channels) +
                     product_flops(tokens, o.channels, o.learn_sigma ? 2 * pixels : pixels);
  const double span = o.spans ? span_flops(2 * frequency_count, o.channels) : 0;
  return in + time + span + static_cast<double>(o.depth) * block + out;
}

std::int64_t parameter_count(const SiTOptions& o) {
  const auto c = o.channels, pixels = o.in_channels * o.patch * o.patch, hidden = mlp_channels(o);
  const auto product = [](std::int64_t in, std::int64_t out) { return in * out + out; };
  const auto embeddings = product(o.embedded_channels() * o.patch * o.patch, c) + product(2 * frequency_count, c) +
                          product(c, c) + (o.num_classes + 1) * c;
  const auto block = product(c, 3 * c) + product(c, c) + product(c, hidden) + product(hidden, c) + product(c, 6 * c);
  const auto span = o.spans ? span_parameters(2 * frequency_count, c) : 0;
  return embeddings + span + o.depth * block + product(c, 2 * c) + product(c, o.learn_sigma ? 2 * pixels : pixels);
}

std::int64_t activation_values(const SiTOptions& o) {
  const auto side = o.image_size / o.patch, tokens = side * side;
  // Attention keeps its input normed and modulated, q, k, v, what it mixed, and the projection before the gate; the MLP
  // keeps its input, that normed and modulated, the hidden layer before and behind GELU, and the output before the
  // gate. That is what plain operations keep; where a half is one operation (residual_branch.h), it is up to a third
  // less.
  const auto block = tokens * (7 * o.channels + 4 * o.channels + 2 * mlp_channels(o));
  const auto stream = (o.depth + 1) * tokens * o.channels;  // what enters each block, and the final layer
  const auto ends = tokens * (o.patch * o.patch * o.embedded_channels() + 2 * o.channels);
  return stream + ends + (o.recompute ? 1 : o.depth) * block;
}

SiTBlockImpl::SiTBlockImpl(const SiTOptions& o) : heads(o.heads) {
  using torch::nn::Linear;
  const auto hidden = mlp_channels(o);
  auto& attention = add_scope(*this, "attn");
  qkv = attention.register_module("qkv", Linear(o.channels, 3 * o.channels));
  proj = attention.register_module("proj", Linear(o.channels, o.channels));
  auto& mlp = add_scope(*this, "mlp");
  mlp_in = mlp.register_module("fc1", Linear(o.channels, hidden));
  mlp_out = mlp.register_module("fc2", Linear(hidden, o.channels));
  modulation = add_scope(*this, "adaLN_modulation").register_module("1", Linear(o.channels, 6 * o.channels));
}

at::Tensor SiTBlockImpl::forward(const at::Tensor& x, const at::Tensor& condition) {
  // They are, in order, shift, scale and gate of attention, then of the MLP.
  const auto m = linear(condition, modulation).to(x.scalar_type()).chunk(6, 1);
  const auto branch = [&](std::size_t first, const torch::nn::Linear& in, const torch::nn::Linear& out) {
    return ResidualBranch{.eps = norm_eps,
                          .factor = 1 + m[first + 1],
                          .offset = m[first],
                          .in_weight = in->weight,
                          .in_bias = in->bias,
                          .out_weight = out->weight,
                          .out_bias = out->bias,
                          .gate = m[first + 2],
                          .mask = {}};
  };
  const auto attended = with_attention(x, branch(0, qkv, proj), heads, /*causal=*/false);
  return with_mlp(attended, branch(3, mlp_in, mlp_out), Gelu::tanh);
}

SiTImpl::SiTImpl(const SiTOptions& o) : options_(o) {
  using torch::nn::Conv2d, torch::nn::Conv2dOptions, torch::nn::Embedding, torch::nn::Linear;
  x_embedder_ =
      add_scope(*this, "x_embedder")
          .register_module("proj", Conv2d(Conv2dOptions(o.embedded_channels(), o.channels, o.patch).stride(o.patch)));
  auto& time = add_scope(add_scope(*this, "t_embedder"), "mlp");
  time_in_ = time.register_module("0", Linear(2 * frequency_count, o.channels));
  time_out_ = time.register_module("2", Linear(o.channels, o.channels));
  label_table_ =
      add_scope(*this, "y_embedder").register_module("embedding_table", Embedding(o.num_classes + 1, o.channels));
  pos_embed_ = register_buffer("pos_embed", sincos_positions(o.channels, o.image_size / o.patch));
  auto& list = add_scope(*this, "blocks");
  for (std::int64_t i = 0; i < o.depth; ++i) {
    blocks_.push_back(list.register_module(std::to_string(i), SiTBlock(o)));
  }
  auto& final_layer = add_scope(*this, "final_layer");
  final_linear_ = final_layer.register_module(
      "linear", Linear(o.channels, o.patch * o.patch * o.in_channels * (o.learn_sigma ? 2 : 1)));
  final_modulation_ =
      add_scope(final_layer, "adaLN_modulation").register_module("1", Linear(o.channels, 2 * o.channels));
  initialize();
  if (o.spans) spans_ = add_span_embedding(*this, 2 * frequency_count, o.channels);
}

/// models.py, initialize_weights.
void SiTImpl::initialize() {
  namespace init = torch::nn::init;
  const at::NoGradGuard no_grad;
  for (const auto& module : modules(/*include_self=*/false)) {
    if (auto* linear = module->as<torch::nn::Linear>()) {
      init::xavier_uniform_(linear->weight);
      init::zeros_(linear->bias);
    }
  }
  init::xavier_uniform_(x_embedder_->weight.view({options_.channels, -1}));
  init::zeros_(x_embedder_->bias);
  init::normal_(label_table_->weight, 0, sit_embedding_std);
  init::normal_(time_in_->weight, 0, sit_embedding_std);
  init::normal_(time_out_->weight, 0, sit_embedding_std);
  for (auto& block : blocks_) init::zeros_(block->modulation->weight);
  init::zeros_(final_modulation_->weight);
  init::zeros_(final_linear_->weight);
}

/// SiLU of the sum of time, span and label embedding: the form in which every block takes it. [N, channels]
at::Tensor SiTImpl::embedding(const at::Tensor& t, const Condition& condition) {
  const at::Tensor& y = condition.labels;
  auto time = time_out_(at::silu(time_in_(time_waves(t).to(time_in_->weight.scalar_type()))));
  if (spans_) time = time + spans_(time_waves(spans_of(condition.span, t)));
  return at::silu(time + label_table_(at::where(y < 0, options_.num_classes, y)));
}

at::Tensor SiTImpl::pass(const at::Tensor& x, const at::Tensor& t, const Condition& condition,
                         std::vector<at::Tensor>* layers) {
  const auto rows = x.size(0), side = options_.image_size / options_.patch, patch = options_.patch;
  const auto c = embedding(t, condition);
  // A convolution whose stride is its kernel is a linear layer on patches.
  const auto input = with_condition_image(x, condition, options_.condition_channels);
  auto tokens =
      at::linear(patchify(input, patch), x_embedder_->weight.view({options_.channels, -1}), x_embedder_->bias) +
      pos_embed_;
  for (auto& block : blocks_) {
    tokens = layer_output(options_.recompute, block, tokens, c);
    if (layers != nullptr) layers->push_back(tokens);
  }
  const auto m = linear(c, final_modulation_).chunk(2, 1);
  const auto output = linear(modulated(tokens, m[0], m[1]), final_linear_).to(x.scalar_type());
  // Its values come in (p, p, C) order, unlike the input's.
  const auto images =
      output.view({rows, side, side, patch, patch, -1}).permute({0, 5, 1, 3, 2, 4}).narrow(1, 0, options_.in_channels);
  return images.reshape({rows, options_.in_channels, options_.image_size, options_.image_size});
}

std::map<std::string, std::string> SiTImpl::sizes() const {
  const auto text = [](std::int64_t size) { return std::to_string(size); };
  std::map<std::string, std::string> sizes{{"in_channels", text(options_.in_channels)},
                                           {"input_size", text(options_.image_size)},
                                           {"patch_size", text(options_.patch)},
                                           {"hidden_size", text(options_.channels)},
                                           {"depth", text(options_.depth)},
                                           {"num_heads", text(options_.heads)},
                                           {"num_classes", text(options_.num_classes)}};
  if (options_.condition_channels > 0) sizes["condition_channels"] = text(options_.condition_channels);
  if (options_.spans) sizes["spans"] = "true";
  return sizes;
}

SiT make_sit(const SiTOptions& options, std::uint64_t seed) {
  torch::manual_seed(seed);
  return SiT(options);
}

at::Tensor sincos_positions(std::int64_t channels, std::int64_t side) {
  const auto exact = at::TensorOptions().dtype(at::kDouble);
  const auto quarter = channels / 4;
  const auto omega = at::pow(largest_period, at::arange(quarter, exact) / -static_cast<double>(quarter));
  const auto angles = at::arange(side, exact).unsqueeze(1) * omega;
  const auto line = at::cat({angles.sin(), angles.cos()}, 1);  // [side, channels / 2]
  const auto columns = line.unsqueeze(0).expand({side, side, 2 * quarter});
  const auto rows = line.unsqueeze(1).expand({side, side, 2 * quarter});
  return at::cat({columns, rows}, 2).reshape({1, side * side, 4 * quarter}).to(at::kFloat);
}

NamedTensors reverse_time(const NamedTensors& tensors) {
  const at::NoGradGuard no_grad;
  auto reversed = tensors;
  for (const auto* name : {"final_layer.linear.weight", "final_layer.linear.bias"}) {
    auto& tensor = tensor_of(reversed, name);
    tensor = -tensor;
  }
  // cos ω(1-t) = cos ω cos ωt + sin ω sin ωt and sin ω(1-t) = sin ω cos ωt - cos ω sin ωt, for the weights of the
  // waves.
  auto& weight = tensor_of(reversed, "t_embedder.mlp.0.weight");
  if (weight.dim() != 2 || weight.size(1) != 2 * frequency_count) {
    fail("these are no SiT weights: t_embedder.mlp.0.weight takes {} waves, not {}", weight.size(-1),
         2 * frequency_count);
  }
  const auto omega = time_frequencies(weight.options().dtype(at::kFloat)).to(at::kDouble);
  const auto parts = weight.to(at::kDouble).chunk(2, 1);
  const auto cosines = parts[0] * omega.cos() + parts[1] * omega.sin();
  const auto sines = parts[0] * omega.sin() - parts[1] * omega.cos();
  weight = at::cat({cosines, sines}, 1).to(weight.scalar_type());
  return reversed;
}

namespace {

/// Whether what an import changes is there, in the form that it has in SiT weights.
bool can_be_imported(const NamedTensors& tensors) {
  const auto has = [&](const char* name, std::int64_t dimensions) {
    const auto found = tensors.find(name);
    return found != tensors.end() && found->second.dim() == dimensions;
  };
  return has("x_embedder.proj.weight", 4) && has("t_embedder.mlp.0.weight", 2) && has("final_layer.linear.weight", 2) &&
         has("final_layer.linear.bias", 1) && tensors.at("t_embedder.mlp.0.weight").size(1) == 2 * frequency_count;
}

}  // namespace

NamedTensors import_sit(const NamedTensors& published) {
  if (!can_be_imported(published)) return published;
  auto tensors = reverse_time(published);
  const auto patch_weight = tensor_of(tensors, "x_embedder.proj.weight");  // [width, C, p, p]
  const auto channels = patch_weight.size(1), pixels = patch_weight.size(2) * patch_weight.size(3);
  for (const auto* name : {"final_layer.linear.weight", "final_layer.linear.bias"}) {
    auto& tensor = tensor_of(tensors, name);
    if (tensor.size(0) != 2 * channels * pixels) continue;
    auto shape = tensor.sizes().vec();
    shape[0] = channels * pixels;
    tensor = tensor.unflatten(0, {pixels, 2 * channels}).narrow(1, 0, channels).reshape(shape);
  }
  return tensors;
}

namespace {

void check_sit(const FieldOptions& o) {
  for (const auto& [name, value] :
       {std::pair{"patch", o.patch}, {"channels", o.channels}, {"depth", o.depth}, {"heads", o.heads}})
    if (value < 1) refuse("{}.{} = {}: must be at least 1", o.section, name, value);
  if (o.channels % o.heads != 0)
    refuse("{0}.channels = {1} is not a multiple of {0}.heads = {2}; the nearest valid: {3}", o.section, o.channels,
           o.heads, nearest_multiples(o.channels, o.heads));
  if (o.channels % 4 != 0)
    refuse("{}.channels = {} is not a multiple of 4, which the sine and cosine positions need; the nearest valid: {}",
           o.section, o.channels, nearest_multiples(o.channels, 4));
  if (o.image_size % o.patch != 0)
    refuse("{0}.patch = {1} does not cut images of {2} x {2} into whole patches", o.section, o.patch, o.image_size);
}

}  // namespace

FieldKind sit_field() {
  return {.name = "sit",
          .help = "SiT, a transformer over patches with adaLN-Zero conditioning (arXiv 2401.08740)",
          .keys = {"student.patch", "student.depth", "student.heads"},
          .takes_images = true,
          .takes_spans = true,
          .has_tokens = true,
          .check = check_sit,
          .make = [](const FieldOptions& o, std::uint64_t seed) -> std::shared_ptr<Field> {
            return make_sit(sit_options(o), seed).ptr();
          },
          .parameter_count = [](const FieldOptions& o) { return parameter_count(sit_options(o)); },
          .forward_flops = [](const FieldOptions& o) { return forward_flops(sit_options(o)); },
          .import_weights = [](const NamedTensors& published, const FieldOptions&) { return import_sit(published); }};
}

}  // namespace couplet
