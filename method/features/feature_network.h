// Networks whose features images are compared by.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <set>
#include <string>
#include <vector>

namespace couplet {

/// What a network says of n images.
struct ImageFeatures {
  at::Tensor features;  ///< float32 [n, dimension], on the CPU
  at::Tensor logits;    ///< float32 [n, classes], or undefined: the network gives none
  at::Tensor spatial;   ///< float32 [n, spatial dimension] for sFID, or undefined
};

class FeatureNetwork {
public:
  virtual ~FeatureNetwork() = default;
  /// Images uint8 [n, C, H, W] on any device. A row's digits do not depend on n. Images that the network does not take,
  /// and features that are none (probabilities, maps), are refused with a line that names the network.
  virtual ImageFeatures describe(const at::Tensor& images) = 0;
  /// "Fashion-MNIST classifier features", "inception-2015-12-05.pt(return_features=True)"
  virtual const std::string& name() const = 0;
  /// A hash of its weights, program and arguments: networks of equal hashes make equal features.
  virtual const std::string& hash() const = 0;
  /// `weight_hashes` of its weights, by which the same network in another file is known; empty: it has none, or does
  /// not say.
  virtual std::set<std::string> weights() const { return {}; }
  /// How images come to the network's resolution: "none", "inside the network", "bilinear, TensorFlow 1's, to 299x299".
  virtual const std::string& resize() const = 0;
};

/// A network given by the user.
struct NetworkFile {
  std::filesystem::path path;          ///< a TorchScript program, or the FID Inception network's weights
  std::vector<std::string> arguments;  ///< of a TorchScript program besides the images: "return_features=True", "3"
};

/// What `network` says of images uint8 [n, C, H, W], asked for exactly `batch` at a time (zeros fill up the last
/// batch), so that a row's digits do not depend on n; without gradients, autocast or TF32. On the CPU (`device`: where
/// the network is) each batch is computed by one thread and several at once: digits do not depend on the number of
/// threads, and `network` is called by several.
ImageFeatures describe_in_batches(const at::Tensor& images, std::int64_t batch, c10::Device device,
                                  const std::function<ImageFeatures(const at::Tensor&)>& network);
/// Hashes of the weights among these tensors, each in float32, whatever they are called: of those with two axes or
/// more, as shifts and counters of different networks are often alike.
std::set<std::string> weight_hashes(const std::vector<at::Tensor>& tensors);
/// True if half or more of the weights of one of two networks are the other's too.
bool share_weights(const std::set<std::string>& one, const std::set<std::string>& other);
/// Grey images [n, 1, H, W] as RGB, the channel three times; others as they are.
at::Tensor as_rgb(const at::Tensor& images);

}  // namespace couplet
