// What a few packed bytes can hold. A file that claims more is damaged, or made to have memory taken for nothing.
#pragma once

#include <cstdint>
#include <limits>

namespace couplet {

/// The bytes that `packed` bytes of deflate's format (gzip, zip, PNG, HDF5) inflate to, at most: it copies up to 258
/// bytes by a code of 2 bits.
inline std::uint64_t most_inflated_bytes(std::uint64_t packed) {
  constexpr std::uint64_t most = 258 * 8 / 2;
  return packed > std::numeric_limits<std::uint64_t>::max() / most ? std::numeric_limits<std::uint64_t>::max()
                                                                   : packed * most;
}

}  // namespace couplet
