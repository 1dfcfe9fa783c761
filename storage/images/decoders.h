// One decoder a format, behind storage/images/image.h.
#pragma once

#include "storage/images/image.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace couplet {

struct ImageDecoder {
  ImageFormat format;
  /// True if an image of the format can begin so; `start` may be short.
  bool (*begins)(std::span<const std::byte> start);
  /// As read_image_header and decode_image.
  std::optional<ImageHeader> (*read_header)(std::span<const std::byte> start, std::uint64_t size);
  DecodedImage (*decode)(std::span<const std::byte> bytes);
};

ImageDecoder png_decoder();
ImageDecoder jpeg_decoder();
ImageDecoder webp_decoder();

/// Refuses an image without pixels, and one beyond the limits of image.h.
void check_claimed_size(std::int64_t height, std::int64_t width);
/// Refuses an image that is claimed to be larger than its bytes can hold.
[[noreturn]] void refuse_claimed_size(std::int64_t height, std::int64_t width, std::uint64_t bytes);

/// A picture of that size, all 0.
Picture empty_picture(std::int64_t height, std::int64_t width, std::int64_t channels);

}  // namespace couplet
