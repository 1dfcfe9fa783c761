// PNG images of 8 bits a sample that are not interlaced, unpacked by libdeflate. What it unpacks are rows of a byte
// that names a filter, and of what the filter left of the row (w3.org/TR/png-3, 9).
#include "storage/images/decoders.h"
#include "storage/images/png_layout.h"

#include <libdeflate.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <type_traits>
#include <vector>

namespace couplet {
namespace {

struct FreeDecompressor {
  void operator()(libdeflate_decompressor* decompressor) const { libdeflate_free_decompressor(decompressor); }
};

/// Memory that is not set to anything before it is filled.
using RawBytes = std::unique_ptr<std::uint8_t[]>;

/// The parts of the zlib stream as one; `storage` holds it where there is more than one.
std::span<const std::byte> whole_stream(const PngLayout& layout, std::vector<std::byte>& storage) {
  if (layout.packed.size() == 1) return layout.packed.front();
  for (const auto part : layout.packed) storage.insert(storage.end(), part.begin(), part.end());
  return storage;
}

/// The row's filtered bytes, those of the row above, and where the pixels go, which may be where the filtered bytes
/// are.
struct FilteredRow {
  const std::uint8_t* in;
  const std::uint8_t* above;
  std::uint8_t* out;
  std::size_t bytes;
};

/// The samples of a pixel beside each other, as vector instructions take them. A pixel follows from the one before it:
/// its samples are all that can be computed at once.
using Samples [[gnu::vector_size(16)]] = std::int16_t;
using SampleBytes [[gnu::vector_size(8)]] = std::uint8_t;

/// Bytes that are read beyond the last pixel of a row: four are one load, three are not.
constexpr std::size_t over_read = 1;

template <std::size_t samples>
Samples samples_at(const std::uint8_t* bytes) {
  SampleBytes narrow{};
  std::memcpy(&narrow, bytes, samples == 3 ? 3 + over_read : samples);
  return __builtin_convertvector(narrow, Samples);
}

Samples distance(Samples difference) {
  return difference > -difference ? difference : -difference;
}

/// Of the neighbours the one nearest to left + above - corner.
Samples nearest_neighbour(Samples left, Samples above, Samples corner) {
  const Samples to_left = above - corner, to_above = left - corner;
  const Samples far_left = distance(to_left), far_above = distance(to_above), far_corner = distance(to_left + to_above);
  const Samples nearest = far_above <= far_corner ? above : corner;
  return ((far_left <= far_above) & (far_left <= far_corner)) ? left : nearest;
}

/// Adds what the filter predicts of each pixel from those to the left, above, and above to the left.
template <std::size_t samples, class Predict>
void add_prediction(const FilteredRow& row, Predict predict) {
  Samples left{}, corner{};
  for (std::size_t x = 0; x < row.bytes; x += samples) {
    const Samples above = samples_at<samples>(row.above + x);
    left = (samples_at<samples>(row.in + x) + predict(left, above, corner)) & 0xff;
    corner = above;
    const SampleBytes bytes = __builtin_convertvector(left, SampleBytes);
    std::memcpy(row.out + x, &bytes, samples);
  }
}

/// False if there is no such filter.
template <std::size_t samples>
bool undo_filter(std::uint8_t filter, const FilteredRow& row) {
  switch (filter) {
    case 0:
      if (row.out != row.in) std::memcpy(row.out, row.in, row.bytes);
      return true;
    case 1:
      add_prediction<samples>(row, [](Samples left, Samples, Samples) { return left; });
      return true;
    case 2:
      for (std::size_t i = 0; i < row.bytes; ++i) row.out[i] = static_cast<std::uint8_t>(row.in[i] + row.above[i]);
      return true;
    case 3:
      add_prediction<samples>(row, [](Samples left, Samples above, Samples) { return (left + above) >> 1; });
      return true;
    case 4:
      add_prediction<samples>(row, nearest_neighbour);
      return true;
    default:
      return false;
  }
}

/// The colours of a palette, black beyond its end.
std::array<std::uint8_t, 256 * 3> colours_of(std::span<const std::byte> palette) {
  std::array<std::uint8_t, 256 * 3> colours{};
  std::memcpy(colours.data(), palette.data(), palette.size());
  return colours;
}

/// Unfilters all rows. Those whose samples are not the picture's are unfiltered in place, and then `convert`ed.
template <std::size_t samples, class Convert>
bool take_rows(std::uint8_t* rows, Picture& picture, Convert convert) {
  const auto width = static_cast<std::size_t>(picture.width);
  const std::size_t row_bytes = width * samples, out_bytes = width * static_cast<std::size_t>(picture.channels);
  constexpr bool in_place = !std::is_null_pointer_v<Convert>;
  const std::vector<std::uint8_t> zeros(row_bytes + over_read);
  const std::uint8_t* above = zeros.data();
  std::uint8_t* out = picture.pixels.data();
  for (std::int64_t y = 0; y < picture.height; ++y, rows += row_bytes + 1, out += out_bytes) {
    std::uint8_t* unfiltered = in_place ? rows + 1 : out;
    if (!undo_filter<samples>(rows[0], {rows + 1, above, unfiltered, row_bytes})) return false;
    if constexpr (in_place)
      for (std::size_t x = 0; x < width; ++x)
        convert(unfiltered + x * samples, out + x * static_cast<std::size_t>(picture.channels));
    above = unfiltered;
  }
  return true;
}

bool take_picture(const PngLayout& layout, std::uint8_t* rows, Picture& picture) {
  switch (layout.colour) {
    case PngColour::grey:
      return take_rows<1>(rows, picture, nullptr);
    case PngColour::rgb:
      return take_rows<3>(rows, picture, nullptr);
    case PngColour::grey_alpha:
      return take_rows<2>(rows, picture, [](const std::uint8_t* in, std::uint8_t* out) { *out = *in; });
    case PngColour::rgba:
      return take_rows<4>(rows, picture, [](const std::uint8_t* in, std::uint8_t* out) { std::memcpy(out, in, 3); });
    case PngColour::palette:
      return take_rows<1>(rows, picture,
                          [colours = colours_of(layout.palette)](const std::uint8_t* in, std::uint8_t* out) {
                            std::memcpy(out, colours.data() + std::size_t{3} * *in, 3);
                          });
  }
  return false;
}

}  // namespace

bool decode_plain_png(const PngLayout& layout, Picture& picture) {
  const ImageHeader& header = layout.header;
  if (!layout.whole || layout.bits != 8 || header.conversions.has(Conversion::interlaced)) return false;
  if (layout.colour == PngColour::palette && layout.palette.empty()) return false;
  std::vector<std::byte> storage;
  const std::span<const std::byte> stream = whole_stream(layout, storage);
  const std::size_t unpacked = static_cast<std::size_t>(header.height) * (layout.row_bytes() + 1);
  const RawBytes rows(new std::uint8_t[unpacked + over_read]);
  const std::unique_ptr<libdeflate_decompressor, FreeDecompressor> inflate(libdeflate_alloc_decompressor());
  if (!inflate) throw std::bad_alloc();
  if (libdeflate_zlib_decompress(inflate.get(), stream.data(), stream.size(), rows.get(), unpacked, nullptr) !=
      LIBDEFLATE_SUCCESS)
    return false;
  picture = empty_picture(header.height, header.width, header.channels);
  return take_picture(layout, rows.get(), picture);
}

}  // namespace couplet
