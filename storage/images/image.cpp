#include "storage/images/image.h"

#include "storage/error.h"
#include "storage/images/decoders.h"
#include "storage/images/other_formats.h"

#include <algorithm>
#include <array>

namespace couplet {
namespace {

const std::array<ImageDecoder, 3>& image_decoders() {
  static const std::array<ImageDecoder, 3> all{png_decoder(), jpeg_decoder(), webp_decoder()};
  return all;
}

const ImageDecoder& decoder_of(std::span<const std::byte> start) {
  for (const ImageDecoder& decoder : image_decoders())
    if (decoder.begins(start)) return decoder;
  if (start.empty()) fail("empty, where an image is expected");
  const std::string found = other_format(start);
  if (!found.empty()) fail("{}; images are PNG, JPEG or WebP", found);
  fail("no image: it begins as no PNG, JPEG or WebP file does");
}

}  // namespace

bool begins_as_image(std::span<const std::byte> start) {
  return std::ranges::any_of(image_decoders(), [&](const ImageDecoder& decoder) { return decoder.begins(start); });
}

std::string_view format_name(ImageFormat format) {
  switch (format) {
    case ImageFormat::png:
      return "PNG";
    case ImageFormat::jpeg:
      return "JPEG";
    default:
      return "WebP";
  }
}

std::string_view conversion_text(Conversion conversion) {
  static constexpr std::array<std::string_view, conversion_count> texts{"palette",
                                                                        "1, 2 or 4 bits widened to 8",
                                                                        "16 bits cut to the upper 8",
                                                                        "alpha dropped",
                                                                        "CMYK turned into RGB",
                                                                        "interlaced or progressive",
                                                                        "EXIF orientation not applied",
                                                                        "first picture of an animation",
                                                                        "surplus bytes passed over"};
  return texts.at(static_cast<std::size_t>(conversion));
}

std::string Conversions::text() const {
  std::string text;
  for (int i = 0; i < conversion_count; ++i) {
    const auto conversion = static_cast<Conversion>(i);
    if (has(conversion)) text += fmt::format("{}{}", text.empty() ? "" : ", ", conversion_text(conversion));
  }
  return text;
}

void check_claimed_size(std::int64_t height, std::int64_t width) {
  if (height < 1 || width < 1) fail("claims {} x {} pixels (width, height)", width, height);
  if (height > longest_decoded_side || width > longest_decoded_side || width > most_decoded_pixels / height)
    fail("claims {} x {} pixels (width, height); images of at most {} pixels and {} a side are read", width, height,
         most_decoded_pixels, longest_decoded_side);
}

void refuse_claimed_size(std::int64_t height, std::int64_t width, std::uint64_t bytes) {
  fail("truncated: {} bytes cannot hold the {} x {} pixels (width, height) that it claims", bytes, width, height);
}

Picture empty_picture(std::int64_t height, std::int64_t width, std::int64_t channels) {
  return {height, width, channels, std::vector<std::uint8_t>(static_cast<std::size_t>(height * width * channels))};
}

std::optional<ImageHeader> read_image_header(std::span<const std::byte> start, std::uint64_t size) {
  return decoder_of(start).read_header(start, size);
}

DecodedImage decode_image(std::span<const std::byte> bytes) {
  return decoder_of(bytes).decode(bytes);
}

}  // namespace couplet
