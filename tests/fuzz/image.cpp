// Images of others in memory: PNG, JPEG, WebP, and what is none of them.
#include "storage/images/image.h"
#include "storage/images/png_layout.h"
#include "tests/fuzz/fuzzed_file.h"

using namespace couplet;
using namespace couplet::fuzz;

namespace {

/// A WebP of equal pixels takes the same few bytes whatever its size, which memory for an input is bounded by.
constexpr std::int64_t most_fuzzed_pixels = std::int64_t{1} << 22;

void decode_whole(std::span<const std::byte> bytes) {
  const std::optional<ImageHeader> header = read_image_header(bytes, bytes.size());
  require(header.has_value());
  const std::optional<ImageHeader> start = read_image_header(bytes.first(bytes.size() / 2), bytes.size());
  if (start) require(start->height == header->height && start->width == header->width);
  if (header->format == ImageFormat::webp && header->height * header->width > most_fuzzed_pixels) return;
  const DecodedImage image = decode_image(bytes);
  require(image.header.height == header->height && image.header.width == header->width);
  require(image.header.channels == header->channels && image.picture.channels == header->channels);
  require(image.picture.height == header->height && image.picture.width == header->width);
  require(image.picture.pixels.size() == static_cast<std::size_t>(header->height * header->width * header->channels));
}

/// Our own reader of plain PNG images and libpng see the same.
void decode_png_twice(std::span<const std::byte> bytes) {
  const PngLayout layout = png_layout(bytes, bytes.size());
  Picture plain;
  if (decode_plain_png(layout, plain)) require(decode_png_by_library(bytes, layout.header).pixels == plain.pixels);
}

}  // namespace

void fuzz_input(std::string_view input) {
  const std::span<const std::byte> bytes = std::as_bytes(std::span(input));
  read_or_refuse([&] { decode_whole(bytes); });
  if (begins_as_png(bytes)) read_or_refuse([&] { decode_png_twice(bytes); });
}
