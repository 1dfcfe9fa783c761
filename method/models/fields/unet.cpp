#include "method/models/fields/unet.h"

#include "method/models/recompute.h"
#include "pipeline/process/log.h"
#include "pipeline/tensor/transformer_ops.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/nn/init.h>
#include <torch/utils.h>

#include <cmath>
#include <utility>

namespace couplet {
namespace {

constexpr double longest_period = 10000;  ///< of the time embedding, in timesteps

/// x as the option has it laid out in memory.
at::Tensor laid_out(const at::Tensor& x, bool channels_last) {
  return channels_last ? x.contiguous(at::MemoryFormat::ChannelsLast) : x;
}

}  // namespace

UNetOptions unet_options(const FieldOptions& o) {
  return {.in_channels = o.image_channels,
          .condition_channels = o.condition_channels,
          .out_channels = o.image_channels,
          .image_size = o.image_size,
          .num_classes = o.num_classes,
          .channels = o.channels,
          .multipliers = o.multipliers,
          .blocks = o.blocks,
          .attention = o.attention,
          .heads = o.heads,
          .head_channels = o.head_channels,
          .scale_shift = o.scale_shift,
          .residual_resampling = o.residual_resampling,
          .conv_resample = true,
          .new_attention_order = o.new_attention_order,
          .dropout = o.dropout,
          .time_scale = o.time_scale,
          .channels_last = o.channels_last,
          .recompute = o.recompute,
          .spans = o.spans};
}

at::Tensor timestep_embedding(const at::Tensor& timesteps, std::int64_t channels) {
  const std::int64_t half = channels / 2;
  const auto exact = timesteps.options().dtype(at::kFloat);
  const at::Tensor frequencies =
      at::exp(at::arange(half, exact) * (-std::log(longest_period) / static_cast<double>(half)));
  const at::Tensor angles = timesteps.to(at::kFloat).unsqueeze(1) * frequencies;
  const at::Tensor waves = at::cat({angles.cos(), angles.sin()}, 1);
  return channels % 2 == 0 ? waves : at::constant_pad_nd(waves, {0, 1});
}

UNetImpl::UNetImpl(const UNetOptions& o, std::uint64_t seed) : options_(o) {
  using torch::nn::Conv2d, torch::nn::Conv2dOptions, torch::nn::Embedding, torch::nn::Linear;
  check(o, "student");
  const UNetLayout layout = layout_of(o);
  const std::int64_t width = embedding_channels(o);
  auto& time = add_scope(*this, "time_embed");
  time_in_ = time.register_module("0", Linear(o.channels, width));
  time_out_ = time.register_module("2", Linear(width, width));
  if (o.num_classes > 0) labels_ = register_module("label_emb", Embedding(o.num_classes + 1, width));
  auto& input = add_scope(*this, "input_blocks");
  const UNetPart& first = layout.input.front().front();
  in_conv_ = add_scope(input, "0").register_module("0", Conv2d(Conv2dOptions(first.in, first.out, 3).padding(1)));
  for (std::size_t i = 1; i < layout.input.size(); ++i)
    input_.push_back(add_entry(add_scope(input, std::to_string(i)), layout.input[i], seed));
  middle_ = add_entry(add_scope(*this, "middle_block"), layout.middle, seed);
  auto& output = add_scope(*this, "output_blocks");
  for (std::size_t i = 0; i < layout.output.size(); ++i)
    output_.push_back(add_entry(add_scope(output, std::to_string(i)), layout.output[i], seed));
  auto& out = add_scope(*this, "out");
  out_norm_ =
      out.register_module("0", torch::nn::GroupNorm(torch::nn::GroupNormOptions(unet_norm_groups, layout.channels)));
  out_conv_ = out.register_module("2", Conv2d(Conv2dOptions(layout.channels, o.out_channels, 3).padding(1)));
  const at::NoGradGuard no_grad;
  torch::nn::init::zeros_(out_conv_->weight);
  torch::nn::init::zeros_(out_conv_->bias);
  if (o.spans) spans_ = add_span_embedding(*this, o.channels, width);
}

UNetImpl::Entry UNetImpl::add_entry(torch::nn::Module& scope, const UNetEntry& parts, std::uint64_t seed) {
  Entry entry;
  for (const UNetPart& part : parts) {
    const DropoutDraws dropout{options_.dropout, seed, residual_blocks_};
    if (part.kind == UNetPart::Kind::residual) ++residual_blocks_;
    entry.push_back(scope.register_module(std::to_string(entry.size()), make_part(options_, part, dropout)));
  }
  return entry;
}

/// SiLU of the sum of time, span and label embedding: the form in which every block takes it. [N, E]
at::Tensor UNetImpl::embedding(const at::Tensor& t, const Condition& condition) {
  const at::Tensor& labels = condition.labels;
  const auto waves = [&](const at::Tensor& times) {
    return timestep_embedding(times.to(at::kFloat) * options_.time_scale, options_.channels);
  };
  at::Tensor sum = time_out_(at::silu(time_in_(waves(t).to(time_in_->weight.scalar_type()))));
  if (spans_) sum = sum + spans_(waves(spans_of(condition.span, t)));
  if (labels_) sum = sum + labels_(at::where(labels < 0, options_.num_classes, labels));
  return at::silu(sum);
}

at::Tensor UNetImpl::through(const Entry& entry, at::Tensor x, const at::Tensor& embedding,
                             const at::Tensor& positions) {
  for (const auto& part : entry) {
    // The gradient of what a part makes of its input is added up at the alias, before those of the input's other users
    // come to it: the same sum to the last bit where the part is computed again.
    const auto work = [part](const std::vector<at::Tensor>& in) {
      return part->forward(at::alias(in[0]), in[1], in[2]);
    };
    x = options_.recompute ? recomputed(work, {x, embedding, positions}, part->parameters())
                           : work({x, embedding, positions});
  }
  return x;
}

at::Tensor UNetImpl::forward(const at::Tensor& x, const at::Tensor& t, const Condition& condition) {
  const at::Tensor e = embedding(t, condition);
  const at::Tensor positions =
      condition.positions.defined() ? condition.positions : at::empty({0}, condition.labels.options());
  const at::Tensor in = with_condition_image(x, condition, options_.condition_channels);
  at::Tensor h = in_conv_(laid_out(in, options_.channels_last));
  std::vector<at::Tensor> kept{h};
  for (const Entry& entry : input_) kept.push_back(h = through(entry, h, e, positions));
  h = through(middle_, h, e, positions);
  for (const Entry& entry : output_) {
    h = through(entry, at::cat({h, kept.back()}, 1), e, positions);
    kept.pop_back();
  }
  return out_conv_(normed_silu(h, out_norm_)).to(x.scalar_type()).contiguous();
}

std::map<std::string, std::string> UNetImpl::sizes() const {
  const UNetOptions& o = options_;
  const auto truth = [](bool value) -> std::string { return value ? "true" : "false"; };
  std::map<std::string, std::string> sizes{{"network", "unet"},
                                           {"image_size", fmt::format("{}", o.image_size)},
                                           {"in_channels", fmt::format("{}", o.in_channels)},
                                           {"condition_channels", fmt::format("{}", o.condition_channels)},
                                           {"out_channels", fmt::format("{}", o.out_channels)},
                                           {"model_channels", fmt::format("{}", o.channels)},
                                           {"channel_mult", fmt::format("{}", fmt::join(o.multipliers, " "))},
                                           {"num_res_blocks", fmt::format("{}", o.blocks)},
                                           {"attention_factors", fmt::format("{}", fmt::join(o.attention, " "))},
                                           {"num_heads", fmt::format("{}", o.heads)},
                                           {"num_head_channels", fmt::format("{}", o.head_channels)},
                                           {"num_classes", fmt::format("{}", o.num_classes)},
                                           {"use_scale_shift_norm", truth(o.scale_shift)},
                                           {"resblock_updown", truth(o.residual_resampling)},
                                           {"use_new_attention_order", truth(o.new_attention_order)},
                                           {"time_scale", fmt::format("{}", o.time_scale)}};
  if (o.spans) sizes["spans"] = truth(true);
  return sizes;
}

UNet make_unet(const UNetOptions& options, std::uint64_t seed) {
  torch::manual_seed(seed);
  return UNet(options, seed);
}

NamedTensors import_unet(const NamedTensors& published, const UNetOptions& o) {
  const at::NoGradGuard no_grad;
  NamedTensors tensors = published;
  // What is no such network comes back as it is: whoever loads it says what is missing, and where.
  const auto time = tensors.find("time_embed.0.weight");
  if (time == tensors.end() || !tensors.contains("out.2.weight")) return published;
  if (const auto labels = tensors.find("label_emb.weight"); o.num_classes > 0 && labels == tensors.end()) {
    tensors["label_emb.weight"] = at::zeros({o.num_classes + 1, embedding_channels(o)}, time->second.options());
    say("the weights know no labels: theirs begin as zeros");
  } else if (labels != tensors.end() && labels->second.dim() == 2 && labels->second.size(0) == o.num_classes) {
    labels->second = at::cat({labels->second, at::zeros({1, labels->second.size(1)}, labels->second.options())});
    say("the weights have {} labels, and none for \"no label\": it begins as zeros", o.num_classes);
  }
  for (const char* name : {"out.2.weight", "out.2.bias"}) {
    const auto found = tensors.find(name);
    if (found == tensors.end() || found->second.dim() < 1 || found->second.size(0) != 2 * o.out_channels) continue;
    found->second = found->second.narrow(0, 0, o.out_channels).contiguous();
    if (found->first == "out.2.weight")
      say("the weights have {} outputs: the first {} are taken (the noise), the others (the learnt variance) are not",
          2 * o.out_channels, o.out_channels);
  }
  return tensors;
}

FieldKind unet_field() {
  return {.name = "unet",
          .help = "the U-Net of ADM with guided-diffusion's flags and parameter names (arXiv 2105.05233)",
          .keys = {"student.multipliers", "student.blocks", "student.attention", "student.heads",
                   "student.head-channels", "student.scale-shift", "student.residual-resampling",
                   "student.new-attention-order", "student.dropout", "student.time-scale", "student.channels-last"},
          .takes_images = true,
          .takes_spans = true,
          .time_rate = [](const FieldOptions& o) { return o.time_scale; },
          .check = [](const FieldOptions& o) { check(unet_options(o), o.section); },
          .make = [](const FieldOptions& o, std::uint64_t seed) -> std::shared_ptr<Field> {
            return make_unet(unet_options(o), seed).ptr();
          },
          .parameter_count = [](const FieldOptions& o) { return parameter_count(unet_options(o)); },
          .forward_flops = [](const FieldOptions& o) { return forward_flops(unet_options(o)); },
          .import_weights = [](const NamedTensors& published,
                               const FieldOptions& o) { return import_unet(published, unet_options(o)); }};
}

}  // namespace couplet
