#include "storage/images/png_layout.h"

#include "storage/deflate.h"
#include "storage/error.h"
#include "storage/images/decoders.h"
#include "storage/images/exif.h"

#include <libdeflate.h>

#include <optional>
#include <string_view>
#include <utility>

namespace couplet {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view png_signature = "\x89PNG\r\n\x1a\n"sv;
constexpr std::size_t first_chunk_bytes = 13;
constexpr std::size_t chunk_frame_bytes = 12;  ///< a chunk's length, name and checksum
constexpr std::size_t most_palette_bytes = 256 * 3;

std::string_view chunk_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::uint32_t big_endian_number(std::span<const std::byte> bytes) {
  std::uint32_t number = 0;
  for (const std::byte byte : bytes.first(4)) number = number << 8 | std::to_integer<std::uint32_t>(byte);
  return number;
}

struct PngChunk {
  std::string_view name;
  std::span<const std::byte> data;
  std::span<const std::byte> checked;  ///< name and data
  std::uint32_t checksum = 0;

  /// What decoders may not pass over has a capital letter first.
  bool is_critical() const { return name[0] >= 'A' && name[0] <= 'Z'; }
  bool is_intact() const { return libdeflate_crc32(0, checked.data(), checked.size()) == checksum; }
};

/// The chunk at `start`, if all of it is there.
std::optional<PngChunk> chunk_at(std::span<const std::byte> start) {
  if (start.size() < chunk_frame_bytes) return {};
  const std::size_t length = big_endian_number(start);
  if (length > start.size() - chunk_frame_bytes) return {};
  return PngChunk{chunk_text(start.subspan(4, 4)), start.subspan(8, length), start.subspan(4, 4 + length),
                  big_endian_number(start.subspan(8 + length))};
}

bool is_depth_of(PngColour colour, int bits) {
  switch (colour) {
    case PngColour::grey:
      return bits == 1 || bits == 2 || bits == 4 || bits == 8 || bits == 16;
    case PngColour::palette:
      return bits == 1 || bits == 2 || bits == 4 || bits == 8;
    case PngColour::rgb:
    case PngColour::grey_alpha:
    case PngColour::rgba:
      return bits == 8 || bits == 16;
  }
  return false;
}

bool has_alpha_channel(PngColour colour) {
  return colour == PngColour::grey_alpha || colour == PngColour::rgba;
}

std::string mode_of(const PngLayout& layout) {
  std::string mode = layout.colour == PngColour::palette ? "palette" : layout.header.channels == 1 ? "grey" : "RGB";
  if (layout.header.conversions.has(Conversion::alpha)) mode += " + alpha";
  if (layout.bits != 8) mode += fmt::format(", {} bit{}", layout.bits, layout.bits == 1 ? "" : "s");
  return mode;
}

/// What IHDR says.
void read_first_chunk(std::span<const std::byte> data, std::uint64_t size, PngLayout& layout) {
  const auto field = [&](std::size_t i) { return std::to_integer<int>(data[i]); };
  ImageHeader& header = layout.header;
  header.width = big_endian_number(data);
  header.height = big_endian_number(data.subspan(4));
  layout.bits = field(8);
  layout.colour = static_cast<PngColour>(field(9));
  if (!is_depth_of(layout.colour, layout.bits) || field(10) != 0 || field(11) != 0 || field(12) > 1)
    fail("no PNG: colour type {} of {} bits, compression {}, filters {}, interlacing {} do not exist", field(9),
         field(8), field(10), field(11), field(12));
  check_claimed_size(header.height, header.width);
  header.channels = layout.colour == PngColour::grey || layout.colour == PngColour::grey_alpha ? 1 : 3;
  if ((layout.row_bytes() + 1) * static_cast<std::uint64_t>(header.height) > most_inflated_bytes(size))
    refuse_claimed_size(header.height, header.width, size);
  if (layout.colour == PngColour::palette)
    header.conversions.add(Conversion::palette);
  else if (layout.bits < 8)
    header.conversions.add(Conversion::few_bits);
  if (layout.bits == 16) header.conversions.add(Conversion::sixteen_bits);
  if (has_alpha_channel(layout.colour)) header.conversions.add(Conversion::alpha);
  if (field(12) == 1) header.conversions.add(Conversion::interlaced);
}

/// Takes what a chunk after the first one says. False, if it may not stand there.
bool take_chunk(const PngChunk& chunk, PngLayout& layout, bool follows_pixels) {
  const bool before_pixels = layout.packed.empty();
  if (chunk.name == "tRNS" && before_pixels && !has_alpha_channel(layout.colour))
    layout.header.conversions.add(Conversion::alpha);
  if (chunk.name == "acTL" && before_pixels) layout.header.conversions.add(Conversion::animation);
  if (chunk.name == "eXIf" && exif_turns(chunk.data)) layout.header.conversions.add(Conversion::orientation);
  if (!chunk.is_critical()) return true;
  if (chunk.name == "PLTE" && before_pixels && layout.header.channels == 3 && layout.palette.empty() &&
      !chunk.data.empty() && chunk.data.size() % 3 == 0 && chunk.data.size() <= most_palette_bytes) {
    layout.palette = chunk.data;
    return true;
  }
  if (chunk.name == "IDAT" && (before_pixels || follows_pixels)) {
    layout.packed.push_back(chunk.data);
    return true;
  }
  return chunk.name == "IEND" && !before_pixels;
}

}  // namespace

std::int64_t PngLayout::samples() const {
  switch (colour) {
    case PngColour::rgb:
      return 3;
    case PngColour::rgba:
      return 4;
    case PngColour::grey_alpha:
      return 2;
    default:
      return 1;
  }
}

std::uint64_t PngLayout::row_bytes() const {
  return (static_cast<std::uint64_t>(header.width * samples()) * static_cast<std::uint64_t>(bits) + 7) / 8;
}

bool begins_as_png(std::span<const std::byte> start) {
  return chunk_text(start).starts_with(png_signature);
}

PngLayout png_layout(std::span<const std::byte> start, std::uint64_t size) {
  if (!begins_as_png(start)) fail("no PNG: it does not begin as one");
  PngLayout layout;
  if (start.size() < png_start_bytes) {
    if (start.size() >= size) fail("truncated PNG: it ends within its first chunk");
    return layout;
  }
  std::span<const std::byte> rest = start.subspan(png_signature.size());
  if (chunk_text(rest.subspan(4, 4)) != "IHDR" || big_endian_number(rest) != first_chunk_bytes)
    fail("damaged PNG: its first chunk is no IHDR of {} bytes", first_chunk_bytes);
  read_first_chunk(rest.subspan(8, first_chunk_bytes), size, layout);
  bool sound = true, is_first = true, ended = false, follows_pixels = false;
  for (std::optional<PngChunk> chunk; !ended && (chunk = chunk_at(rest));
       rest = rest.subspan(chunk_frame_bytes + chunk->data.size())) {
    const bool in_pixels = chunk->name == "IDAT";
    layout.reaches_pixels |= in_pixels;
    if (!is_first) sound &= take_chunk(*chunk, layout, follows_pixels);
    if (start.size() >= size) sound &= !chunk->is_critical() || chunk->is_intact();
    follows_pixels = in_pixels;
    is_first = false;
    ended = chunk->name == "IEND";
  }
  // A chunk of pixels that is not all there has its name there.
  layout.reaches_pixels |= rest.size() >= 8 && chunk_text(rest.subspan(4, 4)) == "IDAT";
  layout.whole = sound && ended;
  layout.header.mode = mode_of(layout);
  return layout;
}

ImageDecoder png_decoder() {
  return {.format = ImageFormat::png,
          .begins = begins_as_png,
          .read_header = [](std::span<const std::byte> start, std::uint64_t size) -> std::optional<ImageHeader> {
            const PngLayout layout = png_layout(start, size);
            if (!layout.reaches_pixels && start.size() < size) return {};
            if (!layout.reaches_pixels) fail("truncated PNG: it ends before its pixels");
            return layout.header;
          },
          .decode = [](std::span<const std::byte> bytes) -> DecodedImage {
            const PngLayout layout = png_layout(bytes, bytes.size());
            Picture picture;
            if (!decode_plain_png(layout, picture)) picture = decode_png_by_library(bytes, layout.header);
            return {layout.header, std::move(picture)};
          }};
}

}  // namespace couplet
