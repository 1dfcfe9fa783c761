// Encoded images in memory, whoever made them: PNG, JPEG and WebP, which their first bytes tell apart. Names of files
// count for nothing. An error says what is wrong with the bytes; whoever knows where they are from says that.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace couplet {

/// Interleaved 8-bit pixels [height, width, channels], 1 (grey) or 3 (RGB) channels.
struct Picture {
  std::int64_t height = 0, width = 0, channels = 1;
  std::vector<std::uint8_t> pixels;
};

/// The pixels and the side that an image may have to be read: a few bytes can claim 2^62 pixels, for which memory would
/// be taken.
inline constexpr std::int64_t most_decoded_pixels = 178'956'970, longest_decoded_side = 16'384;

enum class ImageFormat { png, jpeg, webp };
/// "PNG"
std::string_view format_name(ImageFormat format);

/// How the pixels that are read differ from those that are encoded, and what of the file they leave out.
enum class Conversion {
  palette,       ///< indices became colours
  few_bits,      ///< 1, 2 or 4 bits became 8: black stays 0, white becomes 255
  sixteen_bits,  ///< the upper 8 of 16 bits are kept
  alpha,         ///< transparency is dropped: colours are those beneath it, over no background
  cmyk,          ///< inks became RGB, without a colour profile
  interlaced,    ///< an interlaced PNG or a progressive JPEG, which changes no pixel
  orientation,   ///< EXIF says that the image is to be turned or mirrored, which it is not
  animation,     ///< the first picture of several
  surplus,       ///< bytes that belong to nothing were passed over
};
inline constexpr int conversion_count = 9;
/// "alpha dropped": what messages and lists of files say.
std::string_view conversion_text(Conversion conversion);

class Conversions {
public:
  void add(Conversion conversion) { bits_ |= bit(conversion); }
  bool has(Conversion conversion) const { return (bits_ & bit(conversion)) != 0; }
  /// "palette, alpha dropped"; "" where there are none.
  std::string text() const;
  bool operator==(const Conversions&) const = default;

private:
  static std::uint32_t bit(Conversion conversion) { return 1U << static_cast<unsigned>(conversion); }
  std::uint32_t bits_ = 0;
};

/// True if the bytes begin as one of these formats does, whatever follows.
bool begins_as_image(std::span<const std::byte> start);

struct ImageHeader {
  ImageFormat format = ImageFormat::png;
  std::int64_t height = 0, width = 0;
  std::int64_t channels = 1;  ///< of the pixels that are read: 1 or 3
  std::string mode = {};      ///< what is encoded: "RGB", "grey + alpha, 16 bits", "palette, 4 bits", "CMYK"
  Conversions conversions = {};
};

struct DecodedImage {
  ImageHeader header;
  Picture picture;
};

/// Reads what an image says of itself from its first bytes, decoding nothing: `start` is the beginning of an image of
/// `size` bytes. Nothing, if that is too short to tell, which the whole image never is. Conversions that only later
/// bytes tell of are missing. Refuses what is no image of these formats, naming what it is, and what claims to be
/// larger than the limits above or than its bytes can hold.
std::optional<ImageHeader> read_image_header(std::span<const std::byte> start, std::uint64_t size);

/// Decodes a whole image. Refuses what the header refuses, and what is truncated or damaged: there are no partial
/// pixels. The pixels are those of Pillow 12, converted to L or RGB; but of 16-bit grey, which it clips, the upper
/// bits. Safe from several threads.
DecodedImage decode_image(std::span<const std::byte> bytes);

}  // namespace couplet
