// The one-step student (student.kind = image): x̂ = G(z, label), learnt from the images of the pairs themselves.
#pragma once

#include "method/objectives/objective.h"

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace couplet {

/// [N]: how far apart what a network made and the images are in the features of another network, with gradients to the
/// former.
using FeatureDistance = std::function<at::Tensor(const at::Tensor& made, const at::Tensor& images)>;

/// What [student] says of one-step students.
struct OneStepOptions {
  double huber_delta = 0;     ///< student.huber-delta; 0: the mean square error (student.image-loss = mse)
  double feature_weight = 0;  ///< student.feature-weight
  FeatureDistance feature_distance = {};  ///< needed where there is a weight and errors are asked for
};

/// The network is given the noise z at t = 1, and puts out the image. `straight`: the path that it is a single step of.
std::shared_ptr<const Objective> make_one_step(std::shared_ptr<const Path> straight, const OneStepOptions& one_step,
                                               const ObjectiveOptions& options);

/// What a student makes (student.kind). Not a registry that others add to: a kind decides what else has a say.
struct StudentKind {
  std::string name;
  std::string help;               ///< one line
  std::vector<std::string> keys;  ///< of [student], that have a say for students of this kind alone
};
const std::vector<StudentKind>& student_kinds();

}  // namespace couplet
