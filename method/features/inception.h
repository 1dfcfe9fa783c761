// The Inception-v3 network that FID is defined on: TensorFlow's graph of 2015-12-05 (Szegedy et al. 2015, Heusel et al.
// 2017), with the names of the weights that pytorch-fid and torch-fidelity publish.
#pragma once

#include "method/features/feature_network.h"

#include <torch/nn/module.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/pimpl.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace couplet {

/// A convolution as the network's tables list it, followed by batch normalisation and ReLU.
struct InceptionLayer {
  std::string name = {};
  std::int64_t channels = 0;
  std::int64_t height = 1, width = 1;  ///< of the kernel
  std::int64_t stride = 1;
  bool padded = true;  ///< with zeros, so that stride 1 keeps the size
};

/// One way through a block: pooling, then the chain, then the layers of the fork side by side.
struct InceptionBranch {
  enum class Pooling {
    none,
    average,  ///< 3x3, stride 1, the padding not counted
    maximum,  ///< 3x3, stride 1
    halving   ///< maximum, 3x3, stride 2, unpadded
  };
  Pooling pooling = Pooling::none;
  std::vector<InceptionLayer> chain = {}, fork = {};
};

class InceptionConvolutionImpl : public torch::nn::Module {
public:
  InceptionConvolutionImpl(std::int64_t channels, const InceptionLayer& layer);
  at::Tensor forward(const at::Tensor& x) { return at::relu(bn_(conv_(x))); }

private:
  torch::nn::Conv2d conv_{nullptr};
  torch::nn::BatchNorm2d bn_{nullptr};
};
TORCH_MODULE(InceptionConvolution);

/// Branches on the same input, joined along the channels.
class InceptionBlockImpl : public torch::nn::Module {
public:
  InceptionBlockImpl(std::int64_t channels, const std::vector<InceptionBranch>& branches);
  at::Tensor forward(const at::Tensor& x);
  std::int64_t channels() const { return channels_; }  ///< of what it gives

private:
  struct Branch {
    InceptionBranch::Pooling pooling = InceptionBranch::Pooling::none;
    std::vector<InceptionConvolution> chain, fork;
  };
  InceptionConvolution add(std::int64_t channels, const InceptionLayer& layer);

  std::vector<Branch> branches_;
  std::int64_t channels_ = 0;
};
TORCH_MODULE(InceptionBlock);

/// Layers up to the last pooling, and the classifier of 1008 classes.
class InceptionImpl : public torch::nn::Module {
public:
  static constexpr std::int64_t side = 299;  ///< of the images it takes

  InceptionImpl();
  /// Describes images [n, 3, 299, 299] on [-1, 1]: features [n, 2048] (the last pooling), logits [n, 1008] without the
  /// bias (as inception scores are computed), spatial [n, 17 · 17 · 7] (the first seven channels of mixed_6, as sFID
  /// takes them: by row, column, channel).
  ImageFeatures forward(const at::Tensor& images);

private:
  std::vector<InceptionConvolution> stem_;
  std::vector<InceptionBlock> blocks_;
  torch::nn::Linear fc_{nullptr};
};
TORCH_MODULE(Inception);

/// Images [n, C, H, W] of any size as float32 [n, C, side, side] by TensorFlow 1's bilinear resize, without aligned
/// corners or half-pixel centres: position i is i · H / side of the source.
at::Tensor resize_as_tensorflow(const at::Tensor& images, std::int64_t side);

/// The network with the weights of a file (read_tensors), images resized as FID's are. Grey images are taken as RGB.
std::unique_ptr<FeatureNetwork> make_inception_network(const std::filesystem::path& weights, c10::Device device);

}  // namespace couplet
