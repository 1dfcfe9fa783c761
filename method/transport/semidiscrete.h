// Semidiscrete optimal transport: noise z ~ N(0, I) goes to one of finitely many points x_j, the atoms, each of which
// takes an equal share of the noise at the least E‖z - x‖² (SD-FM, arXiv 2509.25519). An atom has a potential b_j, and
// z goes to argmax_j ⟨z, x_j⟩ + b_j, the lowest j on ties (ε = 0). The best potentials are the minimum of the dual
//   Φ(b) = E max_j (⟨z, x_j⟩ + b_j) - mean_j b_j,    ∂Φ/∂b_j = P(z → j) - 1/N.
// For the cost ½‖z - x‖² the usual potential is g_j = b_j + ½‖x_j‖².
#pragma once

#include "pipeline/distributed/communicator.h"

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

namespace couplet {

inline constexpr std::int64_t atoms_a_block = 1024;

/// Atoms 0 … N-1 in groups, each of which has noise of its own: a group for each class, or one for all. A group is cut
/// into blocks of atoms_a_block, the last of which may be shorter; no block has atoms of two groups. A group may be
/// empty.
class AtomBlocks {
public:
  struct Block {
    std::int64_t group = 0;
    std::int64_t first = 0, atoms = 0;  ///< atoms [first, first + atoms)
  };

  /// Refuses sizes that leave no atom at all.
  explicit AtomBlocks(const std::vector<std::int64_t>& group_sizes);

  std::int64_t atoms() const { return firsts_.back(); }
  std::int64_t groups() const { return std::ssize(firsts_) - 1; }
  std::int64_t first_of(std::int64_t group) const { return firsts_[static_cast<std::size_t>(group)]; }
  std::int64_t size_of(std::int64_t group) const { return first_of(group + 1) - first_of(group); }
  std::int64_t blocks() const { return std::ssize(blocks_); }
  const Block& block(std::int64_t index) const { return blocks_[static_cast<std::size_t>(index)]; }
  /// The block that holds an atom.
  std::int64_t block_of(std::int64_t atom) const;

private:
  std::vector<std::int64_t> firsts_;  ///< first atom of each group, and the number of all atoms
  std::vector<std::int64_t> first_blocks_;
  std::vector<Block> blocks_;
};

/// Groups [first, last).
struct GroupRange {
  std::int64_t first = 0, last = std::numeric_limits<std::int64_t>::max();

  bool holds(std::int64_t group) const { return group >= first && group < last; }
};

/// Of each group, row by row, the atom that each noise goes to within it.
struct AtomChoice {
  at::Tensor score;  ///< float64 [groups, noises]: the largest ⟨z, x_j⟩ + b_j; -∞ where the group was not asked
  at::Tensor atom;   ///< int64 [groups, noises]; -1 where the group was not asked, or is empty
};

/// The points of the atoms that a rank owns: of R ranks, rank r owns the blocks r, r + R, r + 2R, …. Memory: N/R · d
/// values of the points' type. Whatever has a value an atom is float64 [own blocks, atoms_a_block] on the CPU, an "own
/// column"; what lies behind the last atom of a block means nothing.
///
/// Digits do not depend on ranks or, on a CPU, threads: a score is computed with its block, one block on one thread,
/// and everything else atom by atom.
class Atoms {
public:
  /// `points` gives the points of a block, [atoms, d] of a floating type, on the CPU. Points that are not finite are an
  /// error that names the atom. `blocks` and `communicator` outlive this. Collective.
  Atoms(const AtomBlocks& blocks, const std::function<at::Tensor(std::int64_t block)>& points,
        Communicator& communicator, c10::Device device);

  const AtomBlocks& blocks() const { return blocks_; }
  std::int64_t dimension() const { return dimension_; }
  at::ScalarType type() const { return type_; }
  /// The blocks that this rank owns, ascending.
  const std::vector<std::int64_t>& own_blocks() const { return own_; }
  /// Own column of ‖x_j‖.
  const at::Tensor& norms() const { return norms_; }

  at::Tensor zero_column() const;
  /// The values of an own column of all ranks, float64 [N]. Collective.
  at::Tensor whole(const at::Tensor& own_column) const;
  /// This rank's values of [N].
  at::Tensor own_column(const at::Tensor& whole) const;

  /// Where noise [n, d] of the points' type goes, in each group by itself, with the potentials of an own column, which
  /// are rounded to the points' type. Noise is taken 1024 at a time: all ranks exchange 16 bytes a noise and group.
  /// Memory besides the result: 16 KiB a block that is owned, and a few MiB a thread. Collective.
  AtomChoice choose(const at::Tensor& noise, const at::Tensor& potentials, const GroupRange& groups = {}) const;

private:
  AtomChoice choose_own(const at::Tensor& noise, const at::Tensor& potentials, const GroupRange& groups) const;
  AtomChoice best_over_ranks(const AtomChoice& own) const;

  const AtomBlocks& blocks_;
  Communicator& communicator_;
  c10::Device device_;
  std::int64_t dimension_ = 0;
  at::ScalarType type_ = at::kFloat;
  std::vector<std::int64_t> own_;
  std::vector<at::Tensor> points_;  ///< of each own block
  at::Tensor norms_;
};

/// The shares of the noise as chosen against equal ones: χ²(m ‖ 1/N) = N Σ_j m_j² - 1, estimated without bias from n
/// noises: N/(n(n-1)) Σ_j c_j (c_j - 1) - 1, where c_j noises went to atom j (arXiv 2509.25519, eq. 3.5). It may be
/// negative. Of several groups: their mean, weighted by their atoms, which is χ² over (group, atom). `atom` [groups,
/// n].
double unbiased_chi2(const AtomBlocks& blocks, const at::Tensor& atom);

}  // namespace couplet
