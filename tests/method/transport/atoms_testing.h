// What tests of semidiscrete transport share: atoms that lie in memory, noise by its numbers.
#pragma once

#include "method/data/noise.h"
#include "method/transport/potentials.h"

#include <ATen/ATen.h>

#include <numeric>
#include <vector>

namespace couplet::testing {

/// Points [N, d] cut into the blocks that this rank owns.
inline Atoms atoms_of(const AtomBlocks& blocks, const at::Tensor& points, Communicator& communicator,
                      c10::Device device = c10::kCPU) {
  const auto block_points = [&](std::int64_t index) {
    const AtomBlocks::Block& block = blocks.block(index);
    return points.narrow(0, block.first, block.atoms).clone();
  };
  return {blocks, block_points, communicator, device};
}

/// Standard normal noise by its numbers.
inline NumberedNoise normal_noise_of(std::int64_t dimension, at::ScalarType type = at::kFloat) {
  return [dimension, type](std::int64_t first, std::int64_t count) {
    std::vector<std::int64_t> numbers(static_cast<std::size_t>(count));
    std::iota(numbers.begin(), numbers.end(), first);
    return normal_rows({dimension}, 5, Purpose::potential_noise, numbers).to(type);
  };
}

/// Points that do not depend on the process that draws them.
inline at::Tensor normal_points(std::int64_t atoms, std::int64_t dimension) {
  std::vector<std::int64_t> numbers(static_cast<std::size_t>(atoms));
  std::iota(numbers.begin(), numbers.end(), std::int64_t{0});
  return normal_rows({dimension}, 77, Purpose::initial_weights, numbers);
}

}  // namespace couplet::testing
