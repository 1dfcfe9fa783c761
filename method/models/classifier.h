// The feature network: a small convolutional classifier whose last hidden layer gives the features that images are
// compared by where no published network fits (28x28 grey images).
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/pimpl.h>

#include <cstdint>
#include <vector>

namespace couplet {

struct ClassifierOptions {
  std::int64_t in_channels = 1;
  std::int64_t image_size = 28;
  std::int64_t channels = 16;   ///< of the first convolution; each later one has twice as many
  std::int64_t dimension = 64;  ///< of the features
  std::int64_t num_classes = 10;
  bool smooth = false;     ///< SiLU and means of 2x2 pixels in place of ReLU and their maximum: gradients reach everywhere
  bool recompute = false;  ///< convolutions are computed again in the backward pass instead of kept
};

/// Refuses sizes that do not fit together, naming the configuration keys.
void check(const ClassifierOptions& options);
/// Floating-point operations of the matrix products in one image's forward pass, convolutions counted as products.
double forward_flops(const ClassifierOptions& options);
/// Trained numbers of such a model, without making one.
std::int64_t parameter_count(const ClassifierOptions& options);

/// Convolutions, each halving the image, down to 8x8 or less; a hidden layer; class scores. A row's features do not
/// depend on the other rows of its batch: there is no batch normalisation.
class ClassifierImpl : public torch::nn::Module {
public:
  explicit ClassifierImpl(const ClassifierOptions& options);
  /// Class scores [N, num_classes] (logits) of images [N, C, H, W] on [-1, 1].
  at::Tensor forward(const at::Tensor& images);
  /// What each convolution and the hidden layer give: [N, channels, h, w] from the finest on, then [N, dimension].
  std::vector<at::Tensor> levels(const at::Tensor& images);
  /// [N, dimension]: what the last linear layer sees.
  at::Tensor features(const at::Tensor& images) { return levels(images).back(); }
  /// Class scores of features.
  at::Tensor logits(const at::Tensor& features) { return output_(features); }

  const ClassifierOptions& options() const { return options_; }

private:
  ClassifierOptions options_;
  std::vector<torch::nn::Conv2d> convolutions_;
  torch::nn::Linear hidden_{nullptr}, output_{nullptr};
};
TORCH_MODULE(Classifier);

/// A model with random weights, a function of options and seed. Seeds torch's global generator.
Classifier make_classifier(const ClassifierOptions& options, std::uint64_t seed);

}  // namespace couplet
