// EXIF data, which cameras put into images: a TIFF file of a directory of tags (CIPA DC-008, 4.5 and 4.6).
#pragma once

#include <cstddef>
#include <span>

namespace couplet {

/// True if EXIF data, from the TIFF header on, say that the image is to be turned or mirrored to be seen upright. Data
/// that are damaged say nothing.
bool exif_turns(std::span<const std::byte> exif);

}  // namespace couplet
