// Semidiscrete transport with entropy ε > 0: noise goes to atom j with probability ∝ exp((⟨z, x_j⟩ + b_j)/ε). ε here
// belongs to the cost -⟨z, x⟩; for the cost ‖z - x‖² it is twice as large. For small problems: all probabilities of a
// batch lie in memory.
#pragma once

#include <ATen/core/Tensor.h>

namespace couplet {

/// What B noises say of the dual at b.
struct SoftDual {
  double value = 0;  ///< mean_z ε log Σ_j (1/N) exp((⟨z, x_j⟩ + b_j)/ε) - mean_j b_j; ε = 0: mean_z max_j a_j - …
  at::Tensor probabilities;  ///< float64 [B, N]; ε = 0: 1 for the first of the largest, else 0
  at::Tensor gradient;       ///< float64 [N]: mean_z p_j(z) - 1/N
  double chi2 = 0;           ///< N/(B(B-1)) Σ_j [(Σ_i p_ij)² - Σ_i p_ij²] - 1 (arXiv 2509.25519, eq. 3.5)
};

/// `noise` [B, d], `points` [N, d], `potentials` [N], computed in float64. Refuses ε < 0 and fewer than two noises.
SoftDual soft_dual(const at::Tensor& noise, const at::Tensor& points, const at::Tensor& potentials, double epsilon);

}  // namespace couplet
