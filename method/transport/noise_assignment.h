// Numbered noises and the atoms that they go to.
#pragma once

#include "method/transport/potentials.h"

#include <cstdint>
#include <functional>
#include <vector>

namespace couplet {

/// The noises of a group: `draws` times as many as it has atoms. Those of group 0 are the first numbers, and so on, so
/// that the noise of a group is a choice that its atoms had no part in.
inline std::int64_t first_noise_of(const AtomBlocks& blocks, std::int64_t group, std::int64_t draws) {
  return draws * blocks.first_of(group);
}

/// The atom that each of the noises 0 … draws · N - 1 goes to within its group. Every rank has the whole result, 8
/// bytes a noise. `between(done)` is called after some thousands of noises, on all ranks, and may throw. Collective.
std::vector<std::int64_t> assign_noises(const Atoms& atoms, const at::Tensor& potentials, std::int64_t draws,
                                        const NumberedNoise& noise,
                                        const std::function<void(std::int64_t done)>& between);

/// The numbers of the noises of each row, ascending, one row behind the other.
struct NoisesOfRows {
  std::vector<std::int64_t> firsts;  ///< place of the first noise of each row; one more for the end
  std::vector<std::int64_t> noises;
};
/// `row_of_atom` is a permutation of 0 … N-1. Memory: 8 bytes a noise and 16 an atom.
NoisesOfRows noises_of_rows(const std::vector<std::int64_t>& atom_of_noise,
                            const std::vector<std::int64_t>& row_of_atom);

}  // namespace couplet
