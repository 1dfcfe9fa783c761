// Distances between two sets of points of few dimensions, compared as they are.
#pragma once

#include <ATen/core/Tensor.h>

namespace couplet {

/// 2 E|X - Y| - E|X - X'| - E|Y - Y'| of sets [n, d] and [m, d], each mean over the pairs of different rows: unbiased,
/// so that it is 0 in the mean, and at times below, for sets of one distribution (Székely and Rizzo, 2013). Both sets
/// have two rows or more.
double energy_distance(const at::Tensor& a, const at::Tensor& b);

/// The 2-Wasserstein distance between two sets of equally many points [n, d]: the root of the least mean squared
/// distance over all ways to pair their rows, found exactly (solve_assignment). Time grows as n³ at most.
double wasserstein_distance(const at::Tensor& a, const at::Tensor& b);

}  // namespace couplet
