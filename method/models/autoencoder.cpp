#include "method/models/autoencoder.h"

#include "method/models/recompute.h"
#include "pipeline/tensor/flops.h"
#include "pipeline/tensor/group_norm.h"
#include "storage/error.h"
#include "storage/text.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/utils.h>

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace couplet {
namespace {

constexpr std::int64_t kernel_side = 3;
constexpr std::int64_t widest_level = 4;  ///< channels of any level, in units of the first one's
/// Of a model as training begins: its decoder is to see latents, and not their noise, from the first step on.
constexpr double first_log_variance = -6;

/// Channels of each level, the images' own size first.
std::vector<std::int64_t> level_channels(const AutoencoderOptions& o) {
  std::vector<std::int64_t> channels;
  for (std::int64_t scale = 1; scale <= o.factor; scale *= 2)
    channels.push_back(o.channels * std::min(scale, widest_level));
  return channels;
}

void add_residual_block(std::vector<AutoencoderStep>& steps, const std::string& name, std::int64_t channels,
                        std::int64_t side) {
  AutoencoderStep step{.name = name + "_first", .in = channels, .out = channels, .side = side, .normed = true};
  step.begins_block = true;
  steps.push_back(step);
  step.name = name + "_second";
  step.begins_block = false;
  step.ends_block = true;
  steps.push_back(step);
}

std::vector<AutoencoderStep> all_steps(const AutoencoderOptions& o) {
  std::vector<AutoencoderStep> steps = encoder_steps(o);
  for (AutoencoderStep& step : decoder_steps(o)) steps.push_back(std::move(step));
  return steps;
}

}  // namespace

std::vector<AutoencoderStep> encoder_steps(const AutoencoderOptions& o) {
  const std::vector<std::int64_t> channels = level_channels(o);
  std::int64_t side = o.image_size;
  std::vector<AutoencoderStep> steps{
      {.name = "encoder_input", .in = o.in_channels, .out = channels.front(), .side = side}};
  for (std::size_t level = 0; level < channels.size(); ++level) {
    if (level > 0) {
      side /= 2;
      steps.push_back({.name = fmt::format("encoder_{}_smaller", level),
                       .in = channels[level - 1],
                       .out = channels[level],
                       .side = side,
                       .stride = 2});
    }
    add_residual_block(steps, fmt::format("encoder_{}", level), channels[level], side);
  }
  steps.push_back({.name = "encoder_output",
                   .in = channels.back(),
                   .out = (o.plain ? 1 : 2) * o.latent_channels,
                   .side = side,
                   .normed = true});
  return steps;
}

std::vector<AutoencoderStep> decoder_steps(const AutoencoderOptions& o) {
  const std::vector<std::int64_t> channels = level_channels(o);
  std::int64_t side = o.latent_size();
  std::vector<AutoencoderStep> steps{
      {.name = "decoder_input", .in = o.latent_channels, .out = channels.back(), .side = side}};
  for (std::size_t level = channels.size(); level-- > 0;) {
    add_residual_block(steps, fmt::format("decoder_{}", level), channels[level], side);
    if (level == 0) break;
    side *= 2;
    steps.push_back({.name = fmt::format("decoder_{}_larger", level),
                     .in = channels[level],
                     .out = channels[level - 1],
                     .side = side,
                     .enlarged = true});
  }
  steps.push_back(
      {.name = "decoder_output", .in = channels.front(), .out = o.in_channels, .side = side, .normed = true});
  return steps;
}

void check(const AutoencoderOptions& o) {
  if (o.channels < 1 || o.channels % autoencoder_norm_groups != 0)
    refuse("autoencoder.channels = {} is not a multiple of {}, the groups of its norms; the nearest valid: {}",
           o.channels, autoencoder_norm_groups, nearest_multiples(o.channels, autoencoder_norm_groups));
  if (o.latent_channels < 1) refuse("autoencoder.latent-channels = {}: must be at least 1", o.latent_channels);
  if (o.factor < 2 || !std::has_single_bit(static_cast<std::uint64_t>(o.factor)))
    refuse("autoencoder.factor = {}: a latent's side is 2, 4, 8, … times smaller than an image's", o.factor);
  if (o.image_size < o.factor || o.image_size % o.factor != 0)
    refuse(
        "autoencoder.factor = {0}: images of {1}x{1} cannot be made so many times smaller; take a power of two that "
        "divides {1}",
        o.factor, o.image_size);
}

double forward_flops(const AutoencoderOptions& o) {
  double flops = 0;
  for (const AutoencoderStep& step : all_steps(o))
    flops += product_flops(step.side * step.side, kernel_side * kernel_side * step.in, step.out);
  return flops;
}

std::int64_t parameter_count(const AutoencoderOptions& o) {
  std::int64_t count = 0;
  for (const AutoencoderStep& step : all_steps(o))
    count += (kernel_side * kernel_side * step.in + 1) * step.out + (step.normed ? 2 * step.in : 0);
  return count;
}

at::Tensor LatentMoments::deviation() const {
  return log_variance.defined() ? (0.5 * log_variance).exp() : at::zeros_like(mean);
}

at::Tensor AutoencoderImpl::Layer::operator()(const at::Tensor& input) const {
  at::Tensor x = input;
  if (step.enlarged) x = at::upsample_nearest2d(x, {2 * x.size(2), 2 * x.size(3)});
  if (step.normed)
    x = group_norm(x, norm->weight, norm->bias,
                   {.groups = autoencoder_norm_groups, .eps = autoencoder_norm_eps, .silu = true});
  return at::conv2d(x, convolution->weight, convolution->bias, step.stride, /*padding=*/kernel_side / 2);
}

std::vector<at::Tensor> AutoencoderImpl::Layer::parameters() const {
  std::vector<at::Tensor> all = convolution->parameters();
  if (step.normed)
    for (const at::Tensor& parameter : norm->parameters()) all.push_back(parameter);
  return all;
}

AutoencoderImpl::AutoencoderImpl(const AutoencoderOptions& o) : options_(o) {
  check(o);
  encoder_ = make_layers(encoder_steps(o));
  decoder_ = make_layers(decoder_steps(o));
  if (o.plain) return;
  const at::NoGradGuard no_grad;
  encoder_.back().convolution->bias.narrow(0, o.latent_channels, o.latent_channels).fill_(first_log_variance);
}

std::vector<AutoencoderImpl::Layer> AutoencoderImpl::make_layers(const std::vector<AutoencoderStep>& steps) {
  using torch::nn::Conv2d, torch::nn::Conv2dOptions, torch::nn::GroupNorm;
  std::vector<Layer> layers;
  for (const AutoencoderStep& step : steps) {
    Layer layer{.step = step};
    if (step.normed)
      layer.norm = register_module(
          step.name + "_norm",
          GroupNorm(torch::nn::GroupNormOptions(autoencoder_norm_groups, step.in).eps(autoencoder_norm_eps)));
    layer.convolution = register_module(
        step.name, Conv2d(Conv2dOptions(step.in, step.out, kernel_side).stride(step.stride).padding(kernel_side / 2)));
    layers.push_back(std::move(layer));
  }
  return layers;
}

at::Tensor AutoencoderImpl::run(const std::vector<Layer>& layers, const at::Tensor& input) const {
  at::Tensor x = input, kept;
  for (const Layer& layer : layers) {
    if (layer.step.begins_block) kept = x;
    const auto work = [layer](const std::vector<at::Tensor>& in) { return layer(in[0]); };
    x = options_.recompute ? recomputed(work, {x}, layer.parameters()) : layer(x);
    if (layer.step.ends_block) x = x + kept;
  }
  return x.to(input.scalar_type());
}

LatentMoments AutoencoderImpl::encode(const at::Tensor& images) const {
  const at::Tensor made = run(encoder_, images);
  if (options_.plain) return {made, {}};
  const std::int64_t channels = options_.latent_channels;
  return {made.narrow(1, 0, channels),
          made.narrow(1, channels, channels).clamp(least_log_variance, largest_log_variance)};
}

at::Tensor AutoencoderImpl::decode(const at::Tensor& latents) const {
  return run(decoder_, latents);
}

at::Tensor AutoencoderImpl::loss(const at::Tensor& images, const at::Tensor& noise, double kl_weight) const {
  const LatentMoments latents = encode(images);
  const at::Tensor drawn = options_.plain ? latents.mean : latents.mean + latents.deviation() * noise;
  const at::Tensor error = (decode(drawn) - images).square().mean();
  if (options_.plain) return error;
  const at::Tensor divergence =
      0.5 * (latents.mean.square() + latents.log_variance.exp() - 1 - latents.log_variance).flatten(1).sum(1).mean();
  const auto pixels = static_cast<double>(options_.in_channels * options_.image_size * options_.image_size);
  return error + kl_weight / pixels * divergence;
}

Autoencoder make_autoencoder(const AutoencoderOptions& options, std::uint64_t seed) {
  torch::manual_seed(seed);
  return Autoencoder(options);
}

}  // namespace couplet
