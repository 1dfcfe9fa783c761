// A student as a field to integrate, with classifier-free guidance where it is asked for.
#pragma once

#include "method/models/sit.h"
#include "method/solvers/velocity_field.h"

#include <functional>
#include <string>

namespace couplet {

/// v_unlabelled + scale (v_labelled - v_unlabelled) at times in [from, to], the labelled field alone elsewhere
/// (Kynkäänniemi et al., arXiv 2404.07724). Scale 1: none.
struct Guidance {
  double scale = 1;
  double from = 0, to = 1;

  bool acts_at(double t) const { return scale != 1 && t >= from && t <= to; }
};
/// Refuses an interval that is not within [0, 1], that is empty, or that is given where there is no guidance.
void check(const Guidance& guidance);

/// The field of a student (shared, not copied) for rows of these labels: int64 [n], on the model's device. Matrix
/// products in `precision`. A guided evaluation counts as one. Gradients are recorded where the caller's mode says so.
VelocityField student_field(const SiT& student, const at::Tensor& labels, const Guidance& guidance,
                            const std::string& precision);

}  // namespace couplet
