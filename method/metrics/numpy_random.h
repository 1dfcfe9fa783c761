// NumPy's RandomState, as far as published evaluations draw subsets with it.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

namespace couplet {

/// numpy.random.RandomState(seed): the same permutations, in the same order of calls.
class RandomState {
public:
  explicit RandomState(std::uint32_t seed) : bits_(seed) {}
  /// permutation(n), n up to 2^32; choice(n, k, replace=False) is its first k values.
  std::vector<std::int64_t> permutation(std::int64_t n);

private:
  /// Uniform on 0 … most: the lowest bits of draws, those above `most` thrown away.
  std::uint32_t up_to(std::uint32_t most);

  std::mt19937 bits_;
};

}  // namespace couplet
