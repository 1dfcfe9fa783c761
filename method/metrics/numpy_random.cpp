#include "method/metrics/numpy_random.h"

#include <bit>
#include <numeric>
#include <utility>

namespace couplet {

std::uint32_t RandomState::up_to(std::uint32_t most) {
  const auto mask = static_cast<std::uint32_t>((std::uint64_t{1} << std::bit_width(most)) - 1);
  std::uint32_t drawn = 0;
  do drawn = static_cast<std::uint32_t>(bits_()) & mask;
  while (drawn > most);
  return drawn;
}

std::vector<std::int64_t> RandomState::permutation(std::int64_t n) {
  std::vector<std::int64_t> values(static_cast<std::size_t>(n));
  std::iota(values.begin(), values.end(), 0);
  for (std::size_t i = values.size(); i-- > 1;) std::swap(values[i], values[up_to(static_cast<std::uint32_t>(i))]);
  return values;
}

}  // namespace couplet
