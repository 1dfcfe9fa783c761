// The layers of a student that makes an image of noise in one step, held against the states that its teacher passes
// between the two (hidden alignment of BiFlow, arXiv 2512.10953).
#pragma once

#include "method/models/field.h"
#include "method/models/tarflow.h"
#include "pipeline/tensor/weights.h"

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>
#include <torch/nn/modules/linear.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace couplet {

/// A place between noise and image.
struct AlignedState {
  std::int64_t layer = 0;  ///< the student's state there: behind so many of its layers, counted from the noise
  std::int64_t block = 0;  ///< the teacher's: behind so many of its blocks, counted from the image
};
/// K - 1 of them, from noise to image, where K is the smaller of both numbers: the k-th behind k/K of the layers and
/// 1 - k/K of the blocks, rounded. Neither end is among them.
std::vector<AlignedState> aligned_states(std::int64_t layers, std::int64_t blocks);

struct AlignmentOptions {
  std::int64_t layers = 0, channels = 0, patch = 0;  ///< of the student's network, which has tokens
  std::string teacher_precision = "float32";  ///< in which the teacher's pass is computed, whatever the student's
};

/// Floating-point operations of a forward pass, for an image.
struct AlignmentFlops {
  double teacher = 0;                  ///< of its blocks, as far as they are needed
  std::string teacher_precision = {};  ///< in which those are computed
  double maps = 0;                     ///< in the student's precision
};
AlignmentFlops forward_flops(const TarFlowOptions& teacher, const AlignmentOptions& options);

/// What is trained of such a student: the network, and for each of these places a linear map from tokens to the patches
/// of a state. The maps begin at zero. The teacher stays what it is, and is no part of the module.
class Alignment : public torch::nn::Module {
public:
  Alignment(std::shared_ptr<Field> network, TarFlow teacher, const AlignmentOptions& options);

  struct Measured {
    at::Tensor objective;  ///< what was asked for
    at::Tensor distance;   ///< [N]: mean square error of a state's values, mean over the places
  };
  /// What an objective makes of the network, and how far from the teacher's states the network's are in the first pass
  /// that the objective asks for (one for guidance comes behind it). `noised`, `labels`: the images of the rows as the
  /// teacher carried them to their noise, and their classes as it was told them. May be called by several threads.
  Measured measure(const std::function<at::Tensor(Field& network)>& objective, const at::Tensor& noised,
                   const at::Tensor& labels);

  /// The network's own part of what was trained, under its own names.
  static NamedTensors network_of(const NamedTensors& trained);

private:
  std::vector<at::Tensor> teacher_states(const at::Tensor& noised, const at::Tensor& labels);
  at::Tensor distance(const std::vector<at::Tensor>& layers, const std::vector<at::Tensor>& states);

  std::shared_ptr<Field> network_;
  TarFlow teacher_;
  AlignmentOptions options_;
  std::vector<AlignedState> places_;
  std::vector<torch::nn::Linear> maps_;
};

}  // namespace couplet
