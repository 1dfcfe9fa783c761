// Fréchet distance between two sets of features, from their first two moments in float64.
#pragma once

#include "pipeline/tensor/weights.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

namespace couplet {

/// Count, sum and sum of outer products of features, in float64 on the CPU. Slices are added one after the other: the
/// digits depend on the slices and their order, so a caller that keeps both (by sample index) gets the same digits on
/// any number of ranks. Copies are of the values. Memory: one matrix [dimension, dimension] and a slice; covariance()
/// takes a second matrix.
struct Moments {
  std::int64_t count = 0;
  at::Tensor sum;    ///< float64 [dimension]
  at::Tensor outer;  ///< float64 [dimension, dimension]: Σ x xᵀ

  explicit Moments(std::int64_t dimension);
  Moments(const Moments& other);
  Moments& operator=(const Moments& other);
  Moments(Moments&&) noexcept = default;
  Moments& operator=(Moments&&) noexcept = default;
  ~Moments() = default;

  std::int64_t dimension() const { return sum.size(0); }

  /// Adds a slice of features [rows, dimension] of any floating type. A non-finite row is an error that gives their
  /// number.
  void add(const at::Tensor& features);
  /// Adds what another slice or rank summed up. The dimensions must be equal.
  void add(const Moments& other);

  at::Tensor mean() const;        ///< float64 [dimension]; needs one row
  at::Tensor covariance() const;  ///< float64 [dimension, dimension], divided by count - 1; needs two rows
};

constexpr std::int64_t published_samples = 50000;   ///< what published Fréchet distances are over
constexpr std::int64_t comparable_samples = 10000;  ///< fewer: the distance's bias, about 1 / samples, is large

/// What there is to say of a Fréchet distance over so many samples: a line, or "" from `comparable_samples` on.
std::string sample_size_warning(std::int64_t samples);

/// ‖μ_a - μ_b‖² + tr Σ_a + tr Σ_b - 2 tr (Σ_a^½ Σ_b Σ_a^½)^½  (Dowson and Landau 1982; Heusel et al. 2017 on Inception
/// features). Roots by symmetric eigen-decomposition, eigenvalues within rounding (dimension · 2⁻⁵² of the largest) of
/// 0 counting as 0; the last trace by singular values of Σ_a^½ Σ_b^½. Nothing is complex, nothing (no "eps") is ever
/// added to the diagonals, and rounding changes the distance by no more than it changes the traces. Refuses sets of
/// different dimensions, and a set of fewer than dimension + 1 rows, whose covariance is singular.
double frechet_distance(const Moments& a, const Moments& b);

/// Publishes moments as tensors "count" (int64 [1]), "sum" and "outer"; `metadata` says of what (network, its hash,
/// split).
void save_moments(const std::filesystem::path& path, const Moments& moments,
                  const std::map<std::string, std::string>& metadata = {});
/// Reads them back. A file that holds something else is an error that names it.
Moments load_moments(const std::filesystem::path& path);
/// The moments among the tensors of a file, whose names have this prefix; their "count" has
/// none.
Moments find_moments(const std::filesystem::path& path, const NamedTensors& tensors, const std::string& prefix);

}  // namespace couplet
