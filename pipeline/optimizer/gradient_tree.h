// The sum of the gradient groups' gradients, whose bits do not depend on how many ranks share the groups: one fixed
// binary tree, ((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7)) for eight of them.
#pragma once

#include "pipeline/distributed/communicator.h"
#include "pipeline/optimizer/flat_parameters.h"

#include <cstdint>
#include <vector>

namespace couplet {

/// The part of the tree below one rank, which computes its gradient groups one after the other. As in binary counting,
/// every second sum is joined with the one before it.
class GradientTree {
public:
  /// `groups` is the number of this rank's gradient groups, a power of two.
  GradientTree(FlatParameters& parameters, std::int64_t groups);
  /// Takes over the parameters' gradients, which are those of this rank's gradient group `group` (from 0). After the
  /// last group the gradients are the sum of all groups; after another one they are zero.
  void add(std::int64_t group);

private:
  FlatParameters& parameters_;
  std::int64_t groups_;
  std::vector<std::vector<at::Tensor>> kept_;  ///< for each level of the tree, a sum that waits for its neighbour
};

/// The part of the tree above the ranks, whose number is a power of two: sums one flat tensor in place. Only `share` of
/// the result is defined. Collective.
void sum_in_tree(const at::Tensor& flat, const Share& share, Communicator& communicator);

}  // namespace couplet
