// Increasing smooth maps of single values that make each of them normal.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace couplet {

/// One map for each of d values: from knots x_1 < … < x_K to scores y_1 < … < y_K by monotone rational quadratics
/// (Gregory and Delbourgo, IMA Journal of Numerical Analysis 2, 1982), once continuously differentiable, beyond the
/// knots straight on. Scores are at even distances, and slopes at knots follow from the neighbours.
class MarginalSplines {
public:
  /// knots: float64 [d, K]; scores: float64 [K], K ≥ 3.
  MarginalSplines(const at::Tensor& knots, const at::Tensor& scores);

  struct Mapped {
    at::Tensor values;   ///< [n, d]
    at::Tensor log_det;  ///< [n]
  };
  /// x: float64 [n, d].
  Mapped operator()(const at::Tensor& x) const;

private:
  at::Tensor knots_, scores_, slopes_;  ///< [d, K], [K], [d, K]
};

/// Counts of values on a grid that is fine near 0 and grows coarse with the value, even in asinh x: quantiles follow
/// from them.
class ValueCounts {
public:
  static constexpr std::int64_t bins = 1600;
  /// Adds rows x [n, d] to counts [d, bins]. Values beyond ±1490 count as there.
  static void add(at::Tensor& counts, const at::Tensor& x);
};

/// Knots and scores of the splines that make rows of these counts normal, drawn towards the identity as far as the
/// scatter of quantiles asks for. A value all of whose rows lie in one bin stays as it is.
struct SplineFit {
  at::Tensor knots, scores;
  /// 1: the quantiles as they are; 0: the identity. Deviations of quantiles from those of N(0, 1) are Σ of a true part
  /// and of scatter of known variance p (1 - p)/(n φ²); this is the share of the first (James and Stein), over all
  /// values and quantiles together.
  double weight = 0;
};
/// `counts` of n rows, float64 [d, bins], at least 500.
SplineFit fit_splines(const at::Tensor& counts);

}  // namespace couplet
