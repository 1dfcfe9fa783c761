// WebP images, lossy and lossless, by libwebp. One is a RIFF file of chunks: a name, the length and the data, padded to
// an even length (developers.google.com/speed/webp/docs/riff_container).
#include "storage/error.h"
#include "storage/images/decoders.h"
#include "storage/images/exif.h"

#include <webp/decode.h>

#include <algorithm>
#include <new>
#include <string_view>

namespace couplet {
namespace {

constexpr std::size_t riff_header_bytes = 12, riff_chunk_bytes = 8;

const std::uint8_t* webp_data(std::span<const std::byte> bytes) {
  return reinterpret_cast<const std::uint8_t*>(bytes.data());
}

std::string_view riff_name(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), 4};
}

std::size_t riff_length(std::span<const std::byte> bytes) {
  std::size_t length = 0;
  for (std::size_t i = 4; i-- > 0;) length = length << 8 | std::to_integer<std::size_t>(bytes[i]);
  return length;
}

bool begins_as_webp(std::span<const std::byte> start) {
  return start.size() >= riff_header_bytes && riff_name(start) == "RIFF" && riff_name(start.subspan(8)) == "WEBP";
}

bool webp_turns(std::span<const std::byte> start) {
  std::span<const std::byte> rest = start.subspan(riff_header_bytes);
  while (rest.size() >= riff_chunk_bytes) {
    const std::size_t length = riff_length(rest.subspan(4));
    if (length > rest.size() - riff_chunk_bytes) return false;
    if (riff_name(rest) == "EXIF") {
      const std::span<const std::byte> exif = rest.subspan(riff_chunk_bytes, length);
      const bool prefixed = length > 6 && riff_name(exif) == "Exif";
      return exif_turns(exif.subspan(prefixed ? 6 : 0));
    }
    rest = rest.subspan(std::min(rest.size(), riff_chunk_bytes + length + length % 2));
  }
  return false;
}

std::optional<ImageHeader> read_webp_header(std::span<const std::byte> start, std::uint64_t size) {
  WebPBitstreamFeatures features{};
  const VP8StatusCode status = WebPGetFeatures(webp_data(start), start.size(), &features);
  if (status == VP8_STATUS_NOT_ENOUGH_DATA && start.size() < size) return {};
  if (status == VP8_STATUS_NOT_ENOUGH_DATA) fail("truncated WebP: it ends too early");
  if (status != VP8_STATUS_OK) fail("damaged WebP: its header is not as it must be");
  if (features.has_animation) fail("a WebP animation; images of one picture are read");
  check_claimed_size(features.height, features.width);
  ImageHeader header{.format = ImageFormat::webp, .height = features.height, .width = features.width, .channels = 3};
  header.mode = features.has_alpha ? "RGB + alpha" : "RGB";
  if (features.has_alpha) header.conversions.add(Conversion::alpha);
  if (webp_turns(start)) header.conversions.add(Conversion::orientation);
  return header;
}

DecodedImage decode_webp(std::span<const std::byte> bytes) {
  DecodedImage image{*read_webp_header(bytes, bytes.size()), {}};
  image.picture = empty_picture(image.header.height, image.header.width, 3);
  WebPDecoderConfig config;
  if (!WebPInitDecoderConfig(&config)) fail("libwebp is not of the version that this program was made for");
  config.output.colorspace = MODE_RGB;
  config.output.is_external_memory = 1;
  config.output.u.RGBA.rgba = image.picture.pixels.data();
  config.output.u.RGBA.stride = static_cast<int>(3 * image.header.width);
  config.output.u.RGBA.size = image.picture.pixels.size();
  const VP8StatusCode status = WebPDecode(webp_data(bytes), bytes.size(), &config);
  if (status == VP8_STATUS_OUT_OF_MEMORY) throw std::bad_alloc();
  if (status == VP8_STATUS_NOT_ENOUGH_DATA || status == VP8_STATUS_SUSPENDED) fail("truncated WebP: it ends too early");
  if (status != VP8_STATUS_OK) fail("damaged WebP: its pixels cannot be decoded");
  return image;
}

}  // namespace

ImageDecoder webp_decoder() {
  return {
      .format = ImageFormat::webp, .begins = begins_as_webp, .read_header = read_webp_header, .decode = decode_webp};
}

}  // namespace couplet
