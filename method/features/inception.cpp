#include "method/features/inception.h"

#include "pipeline/process/log.h"
#include "pipeline/tensor/weights.h"
#include "storage/error.h"
#include "storage/files/hash.h"
#include "storage/text.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <utility>

namespace couplet {
namespace {

using Pooling = InceptionBranch::Pooling;
using Branches = std::vector<InceptionBranch>;

constexpr double batch_norm_epsilon = 1e-3;
constexpr std::int64_t feature_count = 2048, class_count = 1008;
constexpr std::size_t stem_before_pooling = 3;
constexpr std::size_t spatial_block = 6;  ///< Mixed_6d, TensorFlow's mixed_6
constexpr std::int64_t spatial_channels = 7;
constexpr std::int64_t inception_batch_rows = 16;

/// 3x3 with stride 2, unpadded.
InceptionLayer halving(const char* name, std::int64_t channels) {
  return {name, channels, 3, 3, 2, false};
}

Branches block_a(std::int64_t pooled) {
  return {{.chain = {{"branch1x1", 64}}},
          {.chain = {{"branch5x5_1", 48}, {"branch5x5_2", 64, 5, 5}}},
          {.chain = {{"branch3x3dbl_1", 64}, {"branch3x3dbl_2", 96, 3, 3}, {"branch3x3dbl_3", 96, 3, 3}}},
          {.pooling = Pooling::average, .chain = {{"branch_pool", pooled}}}};
}

Branches block_b() {
  return {{.chain = {halving("branch3x3", 384)}},
          {.chain = {{"branch3x3dbl_1", 64}, {"branch3x3dbl_2", 96, 3, 3}, halving("branch3x3dbl_3", 96)}},
          {.pooling = Pooling::halving}};
}

Branches block_c(std::int64_t inner) {
  return {{.chain = {{"branch1x1", 192}}},
          {.chain = {{"branch7x7_1", inner}, {"branch7x7_2", inner, 1, 7}, {"branch7x7_3", 192, 7, 1}}},
          {.chain = {{"branch7x7dbl_1", inner},
                     {"branch7x7dbl_2", inner, 7, 1},
                     {"branch7x7dbl_3", inner, 1, 7},
                     {"branch7x7dbl_4", inner, 7, 1},
                     {"branch7x7dbl_5", 192, 1, 7}}},
          {.pooling = Pooling::average, .chain = {{"branch_pool", 192}}}};
}

Branches block_d() {
  return {{.chain = {{"branch3x3_1", 192}, halving("branch3x3_2", 320)}},
          {.chain = {{"branch7x7x3_1", 192},
                     {"branch7x7x3_2", 192, 1, 7},
                     {"branch7x7x3_3", 192, 7, 1},
                     halving("branch7x7x3_4", 192)}},
          {.pooling = Pooling::halving}};
}

Branches block_e(Pooling pooling) {
  return {{.chain = {{"branch1x1", 320}}},
          {.chain = {{"branch3x3_1", 384}}, .fork = {{"branch3x3_2a", 384, 1, 3}, {"branch3x3_2b", 384, 3, 1}}},
          {.chain = {{"branch3x3dbl_1", 448}, {"branch3x3dbl_2", 384, 3, 3}},
           .fork = {{"branch3x3dbl_3a", 384, 1, 3}, {"branch3x3dbl_3b", 384, 3, 1}}},
          {.pooling = pooling, .chain = {{"branch_pool", 192}}}};
}

std::vector<InceptionLayer> stem() {
  return {halving("Conv2d_1a_3x3", 32),
          {"Conv2d_2a_3x3", 32, 3, 3, 1, false},
          {"Conv2d_2b_3x3", 64, 3, 3},
          {"Conv2d_3b_1x1", 80},
          {"Conv2d_4a_3x3", 192, 3, 3, 1, false}};
}

/// The last block pools by maximum: so does the graph that FID was defined with.
std::vector<std::pair<const char*, Branches>> blocks() {
  return {{"Mixed_5b", block_a(32)},
          {"Mixed_5c", block_a(64)},
          {"Mixed_5d", block_a(64)},
          {"Mixed_6a", block_b()},
          {"Mixed_6b", block_c(128)},
          {"Mixed_6c", block_c(160)},
          {"Mixed_6d", block_c(160)},
          {"Mixed_6e", block_c(192)},
          {"Mixed_7a", block_d()},
          {"Mixed_7b", block_e(Pooling::average)},
          {"Mixed_7c", block_e(Pooling::maximum)}};
}

at::Tensor halved(const at::Tensor& x) {
  return at::max_pool2d(x, 3, 2);
}

at::Tensor pooled(const at::Tensor& x, Pooling pooling) {
  switch (pooling) {
    case Pooling::average:
      return at::avg_pool2d(x, 3, 1, 1, /*ceil_mode=*/false, /*count_include_pad=*/false);
    case Pooling::maximum:
      return at::max_pool2d(x, 3, 1, 1);
    case Pooling::halving:
      return halved(x);
    case Pooling::none:
      break;
  }
  return x;
}

/// One axis (2 or 3) of images brought to `side`.
at::Tensor resized_along(const at::Tensor& images, std::int64_t axis, std::int64_t side) {
  const std::int64_t from = images.size(axis);
  const double scale = static_cast<float>(from) / static_cast<float>(side);
  const at::Tensor position = at::arange(side, images.options()) * scale;
  const at::Tensor low = position.to(at::kLong);
  const at::Tensor high = (low + 1).clamp_max(from - 1);
  std::array<std::int64_t, 4> shape{1, 1, 1, 1};
  shape[static_cast<std::size_t>(axis)] = side;
  const at::Tensor weight = (position - low).view(shape);
  const at::Tensor below = images.index_select(axis, low);
  return below + (images.index_select(axis, high) - below) * weight;
}

class InceptionNetwork : public FeatureNetwork {
public:
  InceptionNetwork(const std::filesystem::path& weights, c10::Device device)
      : network_(load(weights, device)),
        name_(utf8_text(weights.filename().string())),
        hash_(hash_file(weights)),
        device_(device) {}

  ImageFeatures describe(const at::Tensor& images) override {
    const std::int64_t channels = images.dim() == 4 ? images.size(1) : 0;
    if (channels != 1 && channels != 3)
      refuse("{}: takes RGB or grey images [n, 3 or 1, H, W], given [{}]", name_, fmt::join(images.sizes(), ", "));
    if (channels == 1 && !std::exchange(told_, true))
      say("{}: grey images are given to it as RGB, the channel three times", name_);
    return describe_in_batches(images, inception_batch_rows, device_, [&](const at::Tensor& batch) {
      const at::Tensor values = as_rgb(batch).to(device_, at::kFloat);
      return network_->forward((resize_as_tensorflow(values, InceptionImpl::side) - 128) / 128);
    });
  }
  const std::string& name() const override { return name_; }
  const std::string& hash() const override { return hash_; }
  std::set<std::string> weights() const override {
    std::vector<at::Tensor> all = network_->parameters();
    for (const at::Tensor& buffer : network_->buffers()) all.push_back(buffer);
    return weight_hashes(all);
  }
  const std::string& resize() const override { return resize_; }

private:
  static Inception load(const std::filesystem::path& weights, c10::Device device) {
    Inception network;
    load_tensors(*network, read_tensors(weights), weights.string(), {"num_batches_tracked"});
    network->to(device);
    network->eval();
    return network;
  }

  Inception network_;
  std::string name_, hash_, resize_ = "bilinear, TensorFlow 1's, to 299x299";
  c10::Device device_;
  bool told_ = false;  ///< that grey images become RGB
};

}  // namespace

InceptionConvolutionImpl::InceptionConvolutionImpl(std::int64_t channels, const InceptionLayer& layer) {
  using torch::nn::BatchNorm2dOptions, torch::nn::Conv2dOptions;
  const std::int64_t height = layer.padded ? layer.height / 2 : 0, width = layer.padded ? layer.width / 2 : 0;
  conv_ = register_module("conv", torch::nn::Conv2d(Conv2dOptions(channels, layer.channels, {layer.height, layer.width})
                                                        .stride(layer.stride)
                                                        .padding({height, width})
                                                        .bias(false)));
  bn_ = register_module("bn", torch::nn::BatchNorm2d(BatchNorm2dOptions(layer.channels).eps(batch_norm_epsilon)));
}

InceptionBlockImpl::InceptionBlockImpl(std::int64_t channels, const std::vector<InceptionBranch>& branches) {
  for (const InceptionBranch& branch : branches) {
    Branch& made = branches_.emplace_back();
    made.pooling = branch.pooling;
    std::int64_t inner = channels, given = channels;
    for (const InceptionLayer& layer : branch.chain) {
      made.chain.push_back(add(inner, layer));
      given = inner = layer.channels;
    }
    if (!branch.fork.empty()) given = 0;
    for (const InceptionLayer& layer : branch.fork) {
      made.fork.push_back(add(inner, layer));
      given += layer.channels;
    }
    channels_ += given;
  }
}

InceptionConvolution InceptionBlockImpl::add(std::int64_t channels, const InceptionLayer& layer) {
  return register_module(layer.name, InceptionConvolution(channels, layer));
}

at::Tensor InceptionBlockImpl::forward(const at::Tensor& x) {
  std::vector<at::Tensor> given;
  for (Branch& branch : branches_) {
    at::Tensor y = pooled(x, branch.pooling);
    for (InceptionConvolution& layer : branch.chain) y = layer(y);
    for (InceptionConvolution& layer : branch.fork) given.push_back(layer(y));
    if (branch.fork.empty()) given.push_back(y);
  }
  return at::cat(given, 1);
}

InceptionImpl::InceptionImpl() {
  std::int64_t channels = 3;
  for (const InceptionLayer& layer : stem()) {
    stem_.push_back(register_module(layer.name, InceptionConvolution(channels, layer)));
    channels = layer.channels;
  }
  for (const auto& [name, branches] : blocks()) {
    blocks_.push_back(register_module(name, InceptionBlock(channels, branches)));
    channels = blocks_.back()->channels();
  }
  fc_ = register_module("fc", torch::nn::Linear(feature_count, class_count));
}

ImageFeatures InceptionImpl::forward(const at::Tensor& images) {
  at::Tensor x = images;
  for (std::size_t i = 0; i < stem_.size(); ++i) {
    if (i == stem_before_pooling) x = halved(x);
    x = stem_[i](x);
  }
  x = halved(x);
  ImageFeatures out;
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    x = blocks_[i](x);
    // The block's first branch, of 192 channels, is TensorFlow's mixed_6/conv.
    if (i == spatial_block) out.spatial = x.narrow(1, 0, spatial_channels).permute({0, 2, 3, 1}).flatten(1);
  }
  out.features = x.mean({2, 3});
  out.logits = out.features.mm(fc_->weight.t());
  return out;
}

at::Tensor resize_as_tensorflow(const at::Tensor& images, std::int64_t side) {
  return resized_along(resized_along(images.to(at::kFloat), 3, side), 2, side);
}

std::unique_ptr<FeatureNetwork> make_inception_network(const std::filesystem::path& weights, c10::Device device) {
  return std::make_unique<InceptionNetwork>(weights, device);
}

}  // namespace couplet
