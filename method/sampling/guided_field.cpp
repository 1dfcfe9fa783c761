#include "method/sampling/guided_field.h"

#include "pipeline/tensor/autocast.h"
#include "pipeline/tensor/row_chunks.h"
#include "storage/error.h"

#include <ATen/ATen.h>

namespace couplet {

void check(const Guidance& guidance) {
  if (!(guidance.from >= 0 && guidance.from < guidance.to && guidance.to <= 1)) {
    refuse("guidance from t = {} to {}: the interval lies within 0 (data) to 1 (noise), its start below its end",
           guidance.from, guidance.to);
  }
  if (guidance.scale == 1 && (guidance.from > 0 || guidance.to < 1)) {
    refuse("guidance from t = {} to {} at scale 1, which is no guidance: give a scale or leave the interval out",
           guidance.from, guidance.to);
  }
}

VelocityField student_field(const SiT& student, const at::Tensor& labels, const Guidance& guidance,
                            const std::string& precision) {
  return [model = student, labels, guidance, precision](const at::Tensor& x, double t) mutable {
    const Autocast autocast(precision, x.device());
    return by_row_chunks(x.size(0), x.device(), [&](std::int64_t first, std::int64_t count) {
      const at::Tensor times = at::full({count}, t, x.options());
      return model->guided_velocity(x.narrow(0, first, count), times, labels.narrow(0, first, count),
                                    guidance.acts_at(t) ? guidance.scale : 1);
    });
  };
}

}  // namespace couplet
