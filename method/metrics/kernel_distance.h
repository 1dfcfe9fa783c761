// Kernel distance between two sets of features (Bińkowski et al. 2018; KID on Inception features): unbiased MMD² with
// the kernel k(x, y) = (x·y / dimension + 1)³, in float64.
#pragma once

#include "pipeline/distributed/communicator.h"

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace couplet {

/// Subsets of both sets, drawn without replacement as torch-fidelity draws them (NumPy's RandomState).
struct KernelSubsets {
  std::int64_t subsets = 100;
  std::int64_t rows = 1000;  ///< of each set in a subset
  std::uint32_t seed = 2020;
};

struct KernelDistance {
  double mean = 0;
  double deviation = 0;  ///< standard deviation over the subsets, over their number
};

/// The mean over subsets, which is published as KID. `a` and `b` are [rows, dimension] of any floating type, equal on
/// every rank. The ranks take the subsets in turn, and the digits are the same on any number of them. Collective. Sets
/// smaller than a subset, and subsets of one row, are refused.
KernelDistance kernel_distance(const at::Tensor& a, const at::Tensor& b, const KernelSubsets& subsets,
                               Communicator& communicator);

/// Σ k(x_i, x_j) over all pairs of different rows of a set. Blocks of kernel values, never a whole matrix of them; the
/// ranks take slices of rows in turn, with the same digits. Collective.
double kernel_sum(const at::Tensor& set, Communicator& communicator);

/// The unbiased estimate over all rows of both sets, which the subsets' estimates scatter around. `sum_of_b` is the
/// kernel_sum of `b`, which may serve several sets `a`. Collective, as kernel_sum. Sets of one row are refused.
double full_kernel_distance(const at::Tensor& a, const at::Tensor& b, double sum_of_b, Communicator& communicator);

}  // namespace couplet
