// Samples of a teacher: images of noise, with the noise that it was trained on taken out of them again.
#pragma once

#include "method/data/condition.h"
#include "method/data/noise.h"
#include "method/models/tarflow.h"

#include <string>

namespace couplet {

struct TeacherSampling {
  TarFlowSampling reverse = {};
  /// That the teacher was trained on, which is taken off again; Gaussian of η = 0: there is none.
  ImageNoise noise = {};
  std::string precision = "float32";  ///< of matrix products: "float32" or "bfloat16"
};

/// float32 [N, C, H, W] on [-1, 1], on the model's device.
struct TeacherSamples {
  /// As the model gives them: images with noise of standard deviation η on them. Of a teacher trained with uniform
  /// noise: as models see the grey values in whose cells they lie.
  at::Tensor raw;
  at::Tensor denoised;  ///< undefined where there is no denoising step

  /// What the teacher is taken to have made.
  const at::Tensor& images() const { return denoised.defined() ? denoised : raw; }
};

/// The images of standard normal z [N, C, H, W], on any device. Records no gradients.
TeacherSamples sample_teacher(TarFlow& teacher, const at::Tensor& z, const Condition& condition,
                              const TeacherSampling& sampling);

}  // namespace couplet
