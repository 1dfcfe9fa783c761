// How well a classifier tells rows of two sets apart, and what its logits say of their densities.
#pragma once

#include <ATen/core/Tensor.h>

namespace couplet {

/// The area under the ROC curve: P(a > b) + P(a = b)/2 for logits a of the one set and b of the other; 1/2 where
/// nothing tells them apart. The standard error is that of DeLong, DeLong and Clarke-Pearson (1988).
struct AreaUnderCurve {
  double value = 0, standard_error = 0;
};
AreaUnderCurve area_under_curve(const at::Tensor& a, const at::Tensor& b);

/// A lower bound of KL(q ‖ p), nats, by logits l ≈ log q - log p of rows that the classifier has not seen: Donsker and
/// Varadhan's E_q[l] - log E_p[exp l]. It is a bound for any l, but for the noise of the second mean.
struct DivergenceBound {
  double value = 0, standard_error = 0;
  double mean_logit = 0;      ///< E_q[l]: the divergence itself where l is exact
  double log_normaliser = 0;  ///< log E_p[exp l]: 0 where l is exact
};
DivergenceBound divergence_bound(const at::Tensor& of_q, const at::Tensor& of_p);

}  // namespace couplet
