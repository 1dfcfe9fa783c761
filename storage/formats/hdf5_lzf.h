// The filter "lzf", with which h5py packs chunks and which the HDF5 library itself lacks.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

namespace couplet {

/// Unpacks LZF (oldhome.schmorp.de/marc/liblzf.html): a byte below 32 begins a run of that many and one more bytes, any
/// other a copy of 3 to 264 bytes that came at most 8192 bytes before. Returns nothing if the bytes are no whole LZF.
std::optional<std::vector<std::byte>> unpack_lzf(std::span<const std::byte> packed);

/// Lets the HDF5 library read what h5py wrote with compression="lzf" (filter 32000). Called under the lock (Hdf5Lock),
/// any number of times.
void register_lzf_filter();

}  // namespace couplet
