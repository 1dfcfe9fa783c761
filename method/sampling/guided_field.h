// A student as one velocity field in our time, whatever its network gives and whatever path it was trained along; with
// classifier-free guidance where it is asked for.
#pragma once

#include "method/data/condition.h"
#include "method/models/field.h"
#include "method/objectives/objective.h"
#include "method/solvers/stochastic.h"
#include "method/solvers/velocity_field.h"

#include <functional>
#include <memory>
#include <string>

namespace couplet {

/// f_unlabelled + scale (f_labelled - f_unlabelled) at times in [from, to], the labelled field alone elsewhere
/// (Kynkäänniemi et al., arXiv 2404.07724). Scale 1: none.
struct Guidance {
  double scale = 1;
  double from = 0, to = 1;

  bool acts_at(double t) const { return scale != 1 && t >= from && t <= to; }
};
/// Refuses an interval that is not within [0, 1], that is empty, or that is given where there is no guidance.
void check(const Guidance& guidance);

/// A student: its network, and what the network has learnt. Copies share both.
struct StudentModel {
  std::shared_ptr<Field> field;
  std::shared_ptr<const Objective> objective;
  bool labelled = true;  ///< false: it has seen no labels, and is asked without whatever a condition says
  /// What it was trained from at t = 1 in place of noise z of unit variance (CouplingKind::source); empty: z.
  std::function<at::Tensor(const at::Tensor& z, const Condition& condition)> source = {};
};

/// A student's flow from noise at t = 1 to images at t = 0.
class StudentFlow {
public:
  /// Matrix products in `precision`. `temperature`: factor of the noise that samples start from.
  StudentFlow(StudentModel student, const Guidance& guidance, std::string precision, double temperature = 1);

  /// The velocity of rows of this condition, which lies on the model's device; of a flow map also the mean ones over
  /// spans. A guided evaluation counts as one. Rows are computed in chunks. Gradients are recorded where the caller's
  /// mode says so. Outside the objective's first and last time it is that of the nearest.
  VelocityField velocity(const Condition& condition) const;
  /// The states at t = 1 of noise z of unit variance, for rows of this condition: at temperature τ those of τ z.
  at::Tensor start(const at::Tensor& z, const Condition& condition) const;
  /// Their standard deviation at temperature 1, where they are Gaussian.
  double prior_scale() const { return student_.objective->path().prior_scale(); }
  /// What stochastic solvers need of it, with the noise that they add. Its path is null where the objective has no
  /// score.
  NoisyPath along(SolverNoise noise) const;
  /// One Euler step makes its samples.
  bool is_one_step() const { return student_.objective->is_one_step(); }
  /// They are noise, of no source of the student's own: there are densities.
  bool starts_from_noise() const { return !student_.source; }

private:
  StudentModel student_;
  Guidance guidance_;
  std::string precision_;
  double temperature_;
};

}  // namespace couplet
