#include "storage/formats/hdf5_lzf.h"

#include "storage/formats/hdf5_access.h"

#include <cstring>

namespace couplet {
namespace {

constexpr H5Z_filter_t lzf_filter = 32000;
constexpr std::size_t longest_run = 32;  ///< of bytes that are given as they are
constexpr std::size_t chunk_bytes = 2;   ///< place of a chunk's size among the values that h5py gives the filter

/// Unpacks the chunk that the library hands over. 0 tells it that this failed.
std::size_t filter_chunk(unsigned flags, std::size_t values, const unsigned* value, std::size_t bytes,
                         std::size_t* buffer_bytes, void** buffer) {
  if (!(flags & H5Z_FLAG_REVERSE)) return 0;
  try {
    const auto unpacked = unpack_lzf({static_cast<const std::byte*>(*buffer), bytes});
    // The library takes for granted that a whole chunk comes back.
    if (!unpacked || unpacked->empty() || values <= chunk_bytes || unpacked->size() != value[chunk_bytes]) return 0;
    void* room = H5allocate_memory(unpacked->size(), false);
    if (!room) return 0;
    std::memcpy(room, unpacked->data(), unpacked->size());
    H5free_memory(*buffer);
    *buffer = room;
    *buffer_bytes = unpacked->size();
    return unpacked->size();
  } catch (const std::bad_alloc&) {
    return 0;
  }
}

}  // namespace

std::optional<std::vector<std::byte>> unpack_lzf(std::span<const std::byte> packed) {
  std::vector<std::byte> all;
  std::size_t at = 0;
  const auto left = [&] { return packed.size() - at; };
  const auto next = [&] { return std::to_integer<std::size_t>(packed[at++]); };
  while (left() > 0) {
    const std::size_t control = next();
    if (control < longest_run) {
      if (left() < control + 1) return std::nullopt;
      const auto run = packed.subspan(at, control + 1);
      all.insert(all.end(), run.begin(), run.end());
      at += run.size();
      continue;
    }
    std::size_t length = control >> 5;
    if (left() < (length == 7 ? 2 : 1)) return std::nullopt;
    if (length == 7) length += next();
    const std::size_t distance = ((control & 31) << 8) + next() + 1;
    if (distance > all.size()) return std::nullopt;
    for (std::size_t i = 0; i < length + 2; ++i) all.push_back(all[all.size() - distance]);
  }
  return all;
}

void register_lzf_filter() {
  if (H5Zfilter_avail(lzf_filter) > 0) return;
  const H5Z_class2_t filter{H5Z_CLASS_T_VERS, lzf_filter, 0, 1, "lzf", nullptr, nullptr, filter_chunk};
  checked(H5Zregister(&filter), "H5Zregister");
}

}  // namespace couplet
