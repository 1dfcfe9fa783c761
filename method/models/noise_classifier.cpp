#include "method/models/noise_classifier.h"

#include "method/models/recompute.h"
#include "pipeline/tensor/flops.h"

#include <ATen/ATen.h>
#include <torch/nn/init.h>
#include <torch/utils.h>

#include <fmt/format.h>

namespace couplet {
namespace {

constexpr std::int64_t noise_kernel = 3;
constexpr std::int64_t smallest_noise = 8;  ///< no convolution halves noise of this side or less
constexpr std::int64_t noise_hidden = 64;

/// One convolution: channels in and out, and the side of its output.
struct NoiseLevel {
  std::int64_t from, to, side;
};

/// The first at full size, each further one behind a halving.
std::vector<NoiseLevel> noise_levels(const NoiseClassifierOptions& o) {
  std::vector<NoiseLevel> levels{{2 * o.in_channels, o.channels, o.size}};
  while (levels.back().side > smallest_noise)
    levels.push_back({levels.back().to, 2 * levels.back().to, levels.back().side / 2});
  return levels;
}

std::int64_t noise_features(const NoiseLevel& last) {
  return last.to * last.side * last.side;
}

std::int64_t noise_inputs(const NoiseClassifierOptions& o) {
  return 2 * o.in_channels * o.size * o.size;
}

}  // namespace

double forward_flops(const NoiseClassifierOptions& o) {
  const std::vector<NoiseLevel> levels = noise_levels(o);
  double flops = product_flops(1, noise_inputs(o), 1) + product_flops(1, noise_features(levels.back()), noise_hidden) +
                 product_flops(1, noise_hidden, 1);
  for (const NoiseLevel& level : levels)
    flops += product_flops(level.side * level.side, noise_kernel * noise_kernel * level.from, level.to);
  return flops;
}

std::int64_t parameter_count(const NoiseClassifierOptions& o) {
  const std::vector<NoiseLevel> levels = noise_levels(o);
  std::int64_t count = noise_inputs(o) + 1 + (noise_features(levels.back()) + 1) * noise_hidden + noise_hidden + 1 +
                       o.num_classes * o.channels;
  for (const NoiseLevel& level : levels) count += (noise_kernel * noise_kernel * level.from + 1) * level.to;
  return count;
}

NoiseClassifierImpl::NoiseClassifierImpl(const NoiseClassifierOptions& o) : options_(o) {
  using torch::nn::Conv2d, torch::nn::Conv2dOptions, torch::nn::Embedding, torch::nn::Linear;
  const std::vector<NoiseLevel> levels = noise_levels(o);
  for (const NoiseLevel& level : levels)
    convolutions_.push_back(register_module(fmt::format("convolution_{}", convolutions_.size()),
                                            Conv2d(Conv2dOptions(level.from, level.to, noise_kernel).padding(1))));
  label_ = register_module("label", Embedding(o.num_classes, o.channels));
  direct_ = register_module("direct", Linear(noise_inputs(o), 1));
  hidden_ = register_module("hidden", Linear(noise_features(levels.back()), noise_hidden));
  output_ = register_module("output", Linear(noise_hidden, 1));
  for (auto& zero : {direct_, output_}) {
    torch::nn::init::zeros_(zero->weight);
    torch::nn::init::zeros_(zero->bias);
  }
}

at::Tensor NoiseClassifierImpl::forward(const at::Tensor& z, const at::Tensor& labels) {
  const at::Tensor given = at::cat({z, z.square() - 1}, 1);
  at::Tensor x = at::silu(convolutions_.front()(given) + label_(labels).unsqueeze(-1).unsqueeze(-1));
  for (std::size_t i = 1; i < convolutions_.size(); ++i) {
    auto halved = [convolution = convolutions_[i]](const std::vector<at::Tensor>& in) mutable {
      return at::silu(convolution(at::avg_pool2d(in[0], 2)));
    };
    x = options_.recompute ? recomputed(halved, {x}, convolutions_[i]->parameters()) : halved({x});
  }
  return (direct_(given.flatten(1)) + output_(at::silu(hidden_(x.flatten(1))))).squeeze(1).to(at::kFloat);
}

at::Tensor NoiseClassifierImpl::errors(const at::Tensor& z, const at::Tensor& noise, const at::Tensor& labels) {
  return (at::softplus(-forward(z, labels)) + at::softplus(forward(noise, labels))) / 2;
}

NoiseClassifier make_noise_classifier(const NoiseClassifierOptions& options, std::uint64_t seed) {
  torch::manual_seed(seed);
  return NoiseClassifier(options);
}

}  // namespace couplet
