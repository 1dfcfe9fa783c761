// The directions in which points vary most.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace couplet {

inline constexpr std::int64_t most_axes_values = 3072;  ///< values of a point: 32 x 32 x 3

/// Second moments Σ x xᵀ of centred points, slice after slice, and their eigenvectors. The same bits for any number of
/// threads. Memory: one float64 matrix [d, d], and three of them while axes are computed.
class PrincipalAxes {
public:
  /// Refuses points of more than most_axes_values values, whose matrix would not be decomposed in reasonable time.
  explicit PrincipalAxes(std::int64_t values);

  /// Points [n, d] of a floating type, on the CPU.
  void add(const at::Tensor& points);
  /// The `count` leading eigenvectors as columns, float32 [d, count], by falling eigenvalue; the largest component of
  /// each (the first of the largest) is positive. Refuses more than d.
  at::Tensor leading(std::int64_t count) const;
  /// The share of Σ ‖x‖² that lies in these directions.
  double share(const at::Tensor& axes) const;

private:
  at::Tensor moments_;
};

}  // namespace couplet
