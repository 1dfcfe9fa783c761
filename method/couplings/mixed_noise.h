// Fresh noise in the pairs of any coupling: a remedy where a coupling's noise is not Gaussian (docs/couplings.md).
#pragma once

#include "method/couplings/coupling.h"

#include <cstdint>
#include <memory>

namespace couplet {

/// How much fresh noise ε ~ N(0, I) goes into a pair.
struct Mixing {
  double rho = 0;          ///< z' = √(1 - ρ²) z + ρ ε, in [0, 1]
  double fresh_share = 0;  ///< probability that a pair takes z' = ε instead, in [0, 1]
  std::uint64_t seed = 0;  ///< of the pairs that are drawn: ε is a function of it and of the position in the run
  std::uint64_t held_out_seed = 0;  ///< of the held-out pairs: a function of it and of the row

  bool is_asked_for() const { return rho > 0 || fresh_share > 0; }
};

/// The coupling whose noise is mixed; images, labels, state and what the ranks agree on are those of `coupling`.
/// Held-out pairs are mixed too, each row with the same ε whenever it is asked for: validation measures what is
/// trained on, so that its best checkpoint is that of the task at hand.
std::unique_ptr<Coupling> mix_noise(std::unique_ptr<Coupling> coupling, const Mixing& mixing);

}  // namespace couplet
