#include "method/sampling/teacher_sampler.h"

#include "method/models/patches.h"
#include "pipeline/tensor/autocast.h"

#include <ATen/ATen.h>

namespace couplet {

TeacherSamples sample_teacher(TarFlow& teacher, const at::Tensor& z, const Condition& condition,
                              const TeacherSampling& sampling) {
  const c10::Device device = teacher->parameters().front().device();
  const Autocast autocast(sampling.precision, device);
  const at::Tensor labels = condition.labels.to(device);
  TeacherSamples samples;
  samples.raw =
      teacher->reverse(patchify(z.to(device), teacher->options().patch), labels, sampling.reverse).to(at::kFloat);
  if (sampling.noise.uniform)
    samples.raw = without_uniform_noise(samples.raw);
  else if (sampling.noise.standard_deviation > 0)
    samples.denoised = denoise(teacher, samples.raw, labels, sampling.noise.standard_deviation);
  return samples;
}

}  // namespace couplet
