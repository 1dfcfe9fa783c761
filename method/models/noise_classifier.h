// A small network that tells noise of a table from N(0, I): a two-sample test, and an estimate of their density ratio.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/embedding.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/pimpl.h>

#include <cstdint>
#include <vector>

namespace couplet {

struct NoiseClassifierOptions {
  std::int64_t in_channels = 1;
  std::int64_t size = 28;      ///< of a side of the noise
  std::int64_t channels = 16;  ///< of the first convolution; each later one has twice as many
  std::int64_t num_classes = 10;
  bool recompute = false;  ///< convolutions are computed again in the backward pass instead of kept
};

/// Floating-point operations of the matrix products in one row's forward pass, convolutions counted as products.
double forward_flops(const NoiseClassifierOptions& options);
/// Trained numbers of such a model, without making one.
std::int64_t parameter_count(const NoiseClassifierOptions& options);

/// The sum of a linear map of all z and z² - 1, which alone holds the ratio of normal distributions that differ in
/// means and deviations, and of what convolutions make of z, z² - 1 and the class. It begins as 0. A row's logit does
/// not depend on the other rows of its batch.
class NoiseClassifierImpl : public torch::nn::Module {
public:
  explicit NoiseClassifierImpl(const NoiseClassifierOptions& options);
  /// Estimates of log q(z | label) - log N(z; 0, I) [n], of z [n, C, H, W] of unit variance and labels int64 [n].
  at::Tensor forward(const at::Tensor& z, const at::Tensor& labels);
  /// The cross-entropy of telling each z from noise of the same label [n]: ln 2 where nothing tells them apart.
  at::Tensor errors(const at::Tensor& z, const at::Tensor& noise, const at::Tensor& labels);

  const NoiseClassifierOptions& options() const { return options_; }

private:
  NoiseClassifierOptions options_;
  std::vector<torch::nn::Conv2d> convolutions_;
  torch::nn::Embedding label_{nullptr};
  torch::nn::Linear direct_{nullptr}, hidden_{nullptr}, output_{nullptr};
};
TORCH_MODULE(NoiseClassifier);

/// A model with random weights, a function of options and seed. Seeds torch's global generator.
NoiseClassifier make_noise_classifier(const NoiseClassifierOptions& options, std::uint64_t seed);

}  // namespace couplet
