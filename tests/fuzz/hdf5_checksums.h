// The HDF5 library compares checksums of most of what it reads, so that hardly a changed byte would get further. Whoever
// crafts a file makes them right; here, the library finds them right whatever they are.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" inline __attribute__((used)) int H5F_get_checksums(const std::uint8_t*, std::size_t, std::uint32_t* stored,
                                                              std::uint32_t* computed) {
  if (stored) *stored = 0;
  if (computed) *computed = 0;
  return 0;
}
