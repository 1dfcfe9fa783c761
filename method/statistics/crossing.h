// How much the straight paths of a coupling cross: the part of the pairs' velocities that no velocity field can give.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace couplet {

/// For paths x_t = (1 - t) x + t z with velocity v = z - x: E‖v - E[v | x_t, label]‖² / E‖v‖². 0: no two paths of a
/// class cross, and a field can follow all of them; 1: x_t says nothing about v. It is the loss below which no student
/// of the velocity can come at that time, as a share of the transport cost.
struct Crossing {
  double share = 0;                 ///< the mean over the times; NaN where the rows are too few for the regression
  std::vector<double> times;        ///< 0.1, 0.3, ... 0.9: the middles of five equal parts of [0, 1]
  std::vector<double> at_times;     ///< the share at each of them
  std::int64_t regressors = 0;      ///< numbers by which x_t is known: its values, or random projections of them
  std::int64_t projected_from = 0;  ///< the values of a row, where they are more than the regressors; else 0
  std::int64_t neighbours = 0;      ///< rows that each row is compared with
};

/// Estimates it from pairs: image and noise float32 [n, values], finite and all different, label int64 [n].
///
/// v is regressed on x_t and the class (least squares, Q an orthonormal basis of the regressors, r = v - Q Qᵀ v the
/// residuals), and each residual is compared with the mean over the set S of those of the 10 rows whose x_t are
/// nearest, its own left out: Σ_i ‖r_i - mean_S r‖² / Σ_i (1 + 1/10 - ‖q_i - mean_S q‖²). The divisor is what that sum
/// is expected to be for errors of variance 1, so that the estimate has no bias, in any dimension, where E[v | x_t] is
/// affine and the errors' variance does not depend on x_t: where (x, z) are jointly Gaussian. Where E[v | x_t] bends,
/// the neighbours take off what is equal among them. What neither sees counts as crossing: with many values, where
/// neighbours are far, the figure is an upper bound, near that of the best affine field.
///
/// Regressors are the values of x_t where they are at most half of the rows (less the classes), and as many random
/// projections, the same for all couplings, where they are more: then less is known of x_t, and the bound is higher.
/// The bits do not depend on the number of threads. Cost: about 5 n² values multiply-adds.
Crossing measure_crossing(const at::Tensor& image, const at::Tensor& noise, const at::Tensor& label);

/// Classes of rows: their labels, ascending, and of each row the number of its own among these, int64 [n].
struct ClassNumbers {
  std::vector<std::int64_t> labels;
  at::Tensor number;

  explicit ClassNumbers(const at::Tensor& label);
  std::int64_t count() const { return static_cast<std::int64_t>(labels.size()); }
};

}  // namespace couplet
