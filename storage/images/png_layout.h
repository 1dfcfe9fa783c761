// Where things lie in a PNG file (w3.org/TR/png-3): a signature, then chunks of length, name, data and checksum.
#pragma once

#include "storage/images/image.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace couplet {

/// PNG's colour types: what the samples of a pixel are.
enum class PngColour { grey = 0, rgb = 2, palette = 3, grey_alpha = 4, rgba = 6 };

struct PngLayout {
  ImageHeader header;
  PngColour colour = PngColour::grey;
  int bits = 8;                                    ///< of a sample
  std::span<const std::byte> palette;              ///< three bytes a colour; empty: there is none
  std::vector<std::span<const std::byte>> packed;  ///< the parts of the zlib stream
  bool reaches_pixels = false;                     ///< the chunks up to the first of `packed` were seen
  bool whole = false;                              ///< all chunks were seen, as they must be, with right checksums

  std::int64_t samples() const;     ///< of a pixel in the file
  std::uint64_t row_bytes() const;  ///< unpacked, without the filter's byte
};

bool begins_as_png(std::span<const std::byte> start);

/// Signature and first chunk, whose checksum is not looked at before the sizes in it are.
inline constexpr std::size_t png_start_bytes = 29;
/// Finds the parts of a PNG image of `size` bytes, of which `start` is the beginning: up to where it ends. The sizes
/// are known if it has png_start_bytes. Refuses what is no PNG, a first chunk that is not as it must be, and sizes
/// beyond the limits or that `size` bytes cannot hold.
PngLayout png_layout(std::span<const std::byte> start, std::uint64_t size);

/// Reads a whole image of 8 bits a sample, not interlaced, by libdeflate, which unpacks twice as fast as zlib. False,
/// if it is of another kind, or there is anything the matter with it.
bool decode_plain_png(const PngLayout& layout, Picture& picture);

/// Reads an image of any kind by libpng, or says what is wrong with it.
Picture decode_png_by_library(std::span<const std::byte> bytes, const ImageHeader& header);

}  // namespace couplet
