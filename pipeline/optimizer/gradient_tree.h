// Sums of slices' gradients whose bits do not depend on how many ranks share the slices: one fixed binary tree,
// ((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7)) for eight of them.
#pragma once

#include "pipeline/distributed/communicator.h"
#include "pipeline/optimizer/flat_parameters.h"

#include <cstdint>
#include <vector>

namespace couplet {

/// The part of the tree below one rank, whose slices are computed one after the other: like counting in binary, every
/// second sum is joined with the one before it.
class GradientTree {
public:
  /// `slices` of this rank: a power of two.
  GradientTree(FlatParameters& parameters, std::int64_t slices);
  /// The parameters' gradients are those of this rank's slice `slice` (from 0). After the last one they are the sum of
  /// all; after another one they are kept and zero again.
  void add(std::int64_t slice);

private:
  FlatParameters& parameters_;
  std::int64_t slices_;
  std::vector<std::vector<at::Tensor>> kept_;  ///< for each level of the tree, a sum that waits for its neighbour
};

/// The part of the tree above the ranks (a power of two), on one flat tensor in place; of the result, only `share` is
/// asked for. Collective.
void sum_in_tree(const at::Tensor& flat, const Share& share, Communicator& communicator);

}  // namespace couplet
