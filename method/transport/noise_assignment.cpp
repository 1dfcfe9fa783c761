#include "method/transport/noise_assignment.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <iterator>

namespace couplet {
namespace {

constexpr std::int64_t noises_between = 4096;

}  // namespace

std::vector<std::int64_t> assign_noises(const Atoms& atoms, const at::Tensor& potentials, std::int64_t draws,
                                        const NumberedNoise& noise,
                                        const std::function<void(std::int64_t done)>& between) {
  const AtomBlocks& blocks = atoms.blocks();
  std::vector<std::int64_t> assigned;
  assigned.reserve(static_cast<std::size_t>(draws * blocks.atoms()));
  for (std::int64_t group = 0; group < blocks.groups(); ++group) {
    const std::int64_t end = first_noise_of(blocks, group + 1, draws);
    for (std::int64_t first = first_noise_of(blocks, group, draws); first < end; first += noises_between) {
      const std::int64_t count = std::min(noises_between, end - first);
      const AtomChoice choice = atoms.choose(noise(first, count), potentials, {group, group + 1});
      const std::int64_t* atom = choice.atom.const_data_ptr<std::int64_t>() + group * count;
      assigned.insert(assigned.end(), atom, atom + count);
      between(first + count);
    }
  }
  return assigned;
}

NoisesOfRows noises_of_rows(const std::vector<std::int64_t>& atom_of_noise,
                            const std::vector<std::int64_t>& row_of_atom) {
  const auto row_of = [&](std::int64_t atom) {
    return static_cast<std::size_t>(row_of_atom[static_cast<std::size_t>(atom)]);
  };
  NoisesOfRows sorted{std::vector<std::int64_t>(row_of_atom.size() + 1, 0),
                      std::vector<std::int64_t>(atom_of_noise.size())};
  for (const std::int64_t atom : atom_of_noise) ++sorted.firsts[row_of(atom) + 1];
  for (std::size_t row = 0; row < row_of_atom.size(); ++row) sorted.firsts[row + 1] += sorted.firsts[row];
  std::vector<std::int64_t> next(sorted.firsts.begin(), sorted.firsts.end() - 1);
  for (std::size_t noise = 0; noise < atom_of_noise.size(); ++noise)
    sorted.noises[static_cast<std::size_t>(next[row_of(atom_of_noise[noise])]++)] = static_cast<std::int64_t>(noise);
  return sorted;
}

}  // namespace couplet
