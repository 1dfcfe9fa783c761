#include "method/models/classifier.h"

#include "method/models/recompute.h"
#include "pipeline/tensor/flops.h"
#include "storage/error.h"

#include <ATen/ATen.h>
#include <torch/utils.h>

#include <fmt/format.h>

namespace couplet {
namespace {

constexpr std::int64_t kernel = 3;
constexpr std::int64_t smallest_side = 8;  ///< convolutions stop at or below it

}  // namespace

void check(const ClassifierOptions& o) {
  if (o.channels < 1) refuse("features.channels = {}: must be at least 1", o.channels);
  if (o.dimension < 1) refuse("features.dimension = {}: must be at least 1", o.dimension);
  if (o.num_classes < 2) refuse("a feature network learns to tell classes apart; the data set has {}", o.num_classes);
  if (o.image_size < 4) refuse("images of {}x{} are too small for the feature network", o.image_size, o.image_size);
}

double forward_flops(const ClassifierOptions& o) {
  double flops = 0;
  auto side = o.image_size, from = o.in_channels, to = o.channels;
  do {
    flops += product_flops(side * side, kernel * kernel * from, to);
    side /= 2;
    from = to;
    to *= 2;
  } while (side > smallest_side);
  return flops + product_flops(1, from * side * side, o.dimension) + product_flops(1, o.dimension, o.num_classes);
}

std::int64_t parameter_count(const ClassifierOptions& o) {
  std::int64_t count = 0;
  auto side = o.image_size, from = o.in_channels, to = o.channels;
  do {
    count += kernel * kernel * from * to + to;
    side /= 2;
    from = to;
    to *= 2;
  } while (side > smallest_side);
  return count + (from * side * side + 1) * o.dimension + (o.dimension + 1) * o.num_classes;
}

ClassifierImpl::ClassifierImpl(const ClassifierOptions& o) : options_(o) {
  using torch::nn::Conv2d, torch::nn::Conv2dOptions, torch::nn::Linear;
  check(o);
  auto side = o.image_size, from = o.in_channels, to = o.channels;
  do {
    convolutions_.push_back(register_module(fmt::format("convolution_{}", convolutions_.size()),
                                            Conv2d(Conv2dOptions(from, to, kernel).padding(1))));
    side /= 2;
    from = to;
    to *= 2;
  } while (side > smallest_side);
  hidden_ = register_module("hidden", Linear(from * side * side, o.dimension));
  output_ = register_module("output", Linear(o.dimension, o.num_classes));
}

std::vector<at::Tensor> ClassifierImpl::levels(const at::Tensor& images) {
  std::vector<at::Tensor> all;
  // On a CPU channels last, in which pooling is many times as fast. Images of one channel are in both layouts at once,
  // of which a copy alone says which is meant.
  auto x = images.is_cpu() ? images.clone(at::MemoryFormat::ChannelsLast) : images;
  for (auto& convolution : convolutions_) {
    auto halved = [convolution, smooth = options_.smooth](const std::vector<at::Tensor>& in) mutable {
      const at::Tensor made = convolution(in[0]);
      return smooth ? at::avg_pool2d(at::silu(made), 2) : at::relu(at::max_pool2d(made, 2));
    };
    x = options_.recompute ? recomputed(halved, {x}, convolution->parameters()) : halved({x});
    all.push_back(x);
  }
  const at::Tensor made = hidden_(x.flatten(1));
  all.push_back(options_.smooth ? at::silu(made) : at::relu(made));
  return all;
}

at::Tensor ClassifierImpl::forward(const at::Tensor& images) {
  return logits(features(images));
}

Classifier make_classifier(const ClassifierOptions& options, std::uint64_t seed) {
  torch::manual_seed(seed);
  return Classifier(options);
}

}  // namespace couplet
