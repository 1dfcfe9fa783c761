// Networks that a student's loss compares images by. They take images as models see them, and gradients flow through
// them; those that score images (feature_network.h) take pixels, and none do.
#pragma once

#include "method/models/classifier.h"

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <set>
#include <string>
#include <vector>

namespace couplet {

struct LossNetwork {
  std::string name;               ///< "perceptual.pt"
  std::string hash;               ///< of its weights, or of its file
  std::set<std::string> weights;  ///< `weight_hashes`
  /// [N]: the distance between images [N, C, H, W] on [-1, 1] and others (`feature_distance`). May be called by several
  /// threads at once.
  std::function<at::Tensor(const at::Tensor& made, const at::Tensor& images)> distance;
};

/// [N]: with features φ_l of the levels, [N, C_l, ...], and φ̂ = φ / √(Σ_c φ² + 10⁻⁶), the mean over levels of the mean
/// over places of Σ_c (φ̂_l(made) - φ̂_l(images))². Perceptual losses compare so (arXiv 1801.03924, with all its weights
/// 1).
at::Tensor feature_distance(const std::vector<at::Tensor>& made, const std::vector<at::Tensor>& images);

/// The built-in classifier, already on its device, by all its levels.
LossNetwork make_loss_network(Classifier classifier, const std::string& name);

/// How the values of images are given to a program: "signed" (on [-1, 1]), "unit" (on [0, 1]) or "bytes" (on
/// [0, 255]).
struct LossProgram {
  std::filesystem::path path;
  std::string range = "signed";
};
/// A TorchScript program from float32 images [N, C, H, W] to its levels: a tensor [N, C_l, ...], or a tuple, a list or
/// a dict of such tensors. It is tried on images of this shape [C, H, W]: grey ones are given as RGB where it does not
/// take one channel. Refused with a line that names the file: what is no TorchScript; images it does not take; an
/// output of another form; one that no gradient flows back from.
LossNetwork make_loss_network(const LossProgram& program, const std::vector<std::int64_t>& shape, c10::Device device);

}  // namespace couplet
