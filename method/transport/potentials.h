// Potentials of semidiscrete transport, learnt from fresh noise by stochastic gradient descent on the dual, and how far
// they are from giving each atom its share.
#pragma once

#include "method/transport/semidiscrete.h"
#include "pipeline/tensor/weights.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

namespace couplet {

/// Noise [count, d] of the atoms' type, a function of its numbers first, first + 1, …: the same on all ranks.
using NumberedNoise = std::function<at::Tensor(std::int64_t first, std::int64_t count)>;

struct DescentOptions {
  std::int64_t batch = 1024;  ///< noises a step, the same ones for every group
  std::int64_t steps = 0;     ///< after which the rate is 0
  double rate_factor = 1;     ///< of the rate that follows from each group's size, which falls to 0 as a cosine
  double constant_rate = 0;   ///< of every step and group instead; 0: none
};

/// χ² of the shares (unbiased_chi2): the mean over repeats, each with noises of its own.
struct MassError {
  double chi2 = 0, standard_error = 0;
  std::int64_t noises = 0;  ///< of all repeats
};

/// The descent b_j ← b_j - η (c_j/B - 1/N), where c_j of a step's B noises go to atom j, and the average of its
/// iterates, which is the result: at constant rate the iterate keeps the χ² that its noise stirs up, the average does
/// not. Groups are problems of their own.
///
/// What has been measured: the rate keeps the iterate at χ² ≈ η q/(r B), and errors decay within N r/(η q) steps, with
/// r = mean ‖x_j - x̄‖ and q = Φ⁻¹(1 - 1/N), at least ½. So η = 0.4 r B/q (χ² of 0.4), but at most ½ N r/q, that of two
/// steps. That is for images; of atoms in few dimensions neighbours are close, and a factor of 0.05 is better. b_j
/// starts at -q ‖x_j - x̄‖, at which long atoms have no advantage. The newest iterate enters the average with weight
/// min(0.01, 5/k) in step k.
///
/// All that is added up goes atom by atom: the bits are the same on any number of ranks. Memory: two float64 an own
/// atom.
class PotentialDescent {
public:
  /// `atoms` are centred, each group on its own mean, and outlive this. Collective.
  PotentialDescent(const Atoms& atoms, NumberedNoise noise, const DescentOptions& options);

  std::int64_t steps_done() const { return step_; }
  bool done() const { return step_ >= options_.steps; }
  /// Makes the next step, with noises step · batch, …. Collective.
  void advance();
  /// The averaged potentials, an own column.
  const at::Tensor& average() const { return average_; }
  /// Measures the average with the same noises whenever it is called, as many as make the standard error about
  /// `wanted_error` where χ² is near 0. The standard error is that of the repeats' mean. Collective.
  MassError mass_error(double wanted_error) const;

  /// "potentials" and "average", float64 [N], "step", int64 []: equal on all ranks, and the same whatever their number.
  /// Collective.
  NamedTensors state() const;
  /// Goes on from a state. One of another number of atoms is an error.
  void restore(const NamedTensors& state);

private:
  std::vector<double> own_counts(std::int64_t first) const;

  const Atoms& atoms_;
  NumberedNoise noise_;
  DescentOptions options_;
  std::vector<double> rates_;  ///< η of each group
  std::int64_t step_ = 0;
  at::Tensor potentials_, average_;  ///< own columns
};

/// Steps of `batch` that give each atom of the largest group `noises_an_atom` on average, and 500 at least.
std::int64_t descent_steps(const AtomBlocks& blocks, std::int64_t batch, double noises_an_atom);

}  // namespace couplet
