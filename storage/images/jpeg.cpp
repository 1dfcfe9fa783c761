// JPEG images, by libjpeg-turbo, whose errors are long jumps: nothing between them and setjmp has a destructor.
#include "storage/error.h"
#include "storage/images/decoders.h"
#include "storage/images/exif.h"

#include <cstdio>  // jpeglib.h needs it

#include <jerror.h>
#include <jpeglib.h>

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstring>

namespace couplet {
namespace {

/// The scans of a progressive image. Each passes over all pixels, and a few bytes are enough for one.
constexpr int most_scans = 500;

struct JpegReader {
  jpeg_decompress_struct info{};
  jpeg_error_mgr errors{};
  jpeg_source_mgr source{};
  jpeg_progress_mgr progress{};
  std::jmp_buf escape{};
  char reason[JMSG_LENGTH_MAX] = {};
  bool ends_early = false, has_surplus = false;

  explicit JpegReader(std::span<const std::byte> bytes);
  ~JpegReader() { jpeg_destroy_decompress(&info); }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;
};

JpegReader& jpeg_reader(j_common_ptr info) {
  return *static_cast<JpegReader*>(info->client_data);
}

[[noreturn]] void leave_jpeg(j_common_ptr info) {
  JpegReader& reader = jpeg_reader(info);
  info->err->format_message(info, reader.reason);
  std::longjmp(reader.escape, 1);
}

/// Pixels after most warnings are made up, and libjpeg would go on with grey.
void take_jpeg_message(j_common_ptr info, int level) {
  if (level >= 0) return;
  switch (info->err->msg_code) {
    case JWRN_EXTRANEOUS_DATA:
      jpeg_reader(info).has_surplus = true;
      return;
    case JWRN_ADOBE_XFORM:
    case JWRN_JFIF_MAJOR:
    case JWRN_BOGUS_ICC:
      return;
    default:
      leave_jpeg(info);
  }
}

[[noreturn]] void leave_at_end(j_decompress_ptr info) {
  JpegReader& reader = jpeg_reader(reinterpret_cast<j_common_ptr>(info));
  reader.ends_early = true;
  std::longjmp(reader.escape, 1);
}

boolean refill_jpeg(j_decompress_ptr info) {
  leave_at_end(info);
}

void skip_jpeg(j_decompress_ptr info, long count) {
  if (count <= 0) return;
  const auto bytes = static_cast<std::size_t>(count);
  if (bytes > info->src->bytes_in_buffer) leave_at_end(info);
  info->src->next_input_byte += bytes;
  info->src->bytes_in_buffer -= bytes;
}

void ignore_jpeg(j_decompress_ptr) {}

void count_scans(j_common_ptr info) {
  const int scan = reinterpret_cast<j_decompress_ptr>(info)->input_scan_number;
  if (scan <= most_scans) return;
  JpegReader& reader = jpeg_reader(info);
  std::snprintf(reader.reason, sizeof reader.reason, "it has more than %d scans", most_scans);
  std::longjmp(reader.escape, 1);
}

JpegReader::JpegReader(std::span<const std::byte> bytes) {
  info.err = jpeg_std_error(&errors);
  errors.error_exit = leave_jpeg;
  errors.emit_message = take_jpeg_message;
  info.client_data = this;
  source.next_input_byte = reinterpret_cast<const JOCTET*>(bytes.data());
  source.bytes_in_buffer = bytes.size();
  source.init_source = source.term_source = ignore_jpeg;
  source.fill_input_buffer = refill_jpeg;
  source.skip_input_data = skip_jpeg;
  source.resync_to_restart = jpeg_resync_to_restart;
  progress.progress_monitor = count_scans;
}

/// Reads up to the first scan.
bool open_jpeg(JpegReader& reader) {
  if (setjmp(reader.escape)) return false;
  jpeg_create_decompress(&reader.info);
  reader.info.src = &reader.source;
  reader.info.progress = &reader.progress;
  jpeg_save_markers(&reader.info, JPEG_APP0 + 1, 0xffff);
  jpeg_read_header(&reader.info, TRUE);
  return true;
}

/// Reads all rows, `stride` bytes apart.
bool read_jpeg_rows(JpegReader& reader, std::uint8_t* out, std::size_t stride) {
  if (setjmp(reader.escape)) return false;
  jpeg_start_decompress(&reader.info);
  while (reader.info.output_scanline < reader.info.output_height) {
    JSAMPROW row = out + reader.info.output_scanline * stride;
    jpeg_read_scanlines(&reader.info, &row, 1);
  }
  jpeg_finish_decompress(&reader.info);
  return true;
}

[[noreturn]] void refuse_jpeg(const JpegReader& reader) {
  if (reader.ends_early) fail("truncated JPEG: it ends too early");
  fail("damaged JPEG, or of a kind that is not read: {}", reader.reason);
}

bool jpeg_turns(const jpeg_decompress_struct& info) {
  constexpr char start[] = "Exif\0";
  for (const jpeg_marker_struct* marker = info.marker_list; marker; marker = marker->next)
    if (marker->data_length > sizeof start && std::memcmp(marker->data, start, sizeof start) == 0)
      return exif_turns(std::as_bytes(std::span(marker->data, marker->data_length).subspan(sizeof start)));
  return false;
}

/// Each block of 8 x 8 samples takes a bit or more of a Huffman code.
bool may_hold_blocks(const jpeg_decompress_struct& info, std::uint64_t size) {
  std::uint64_t blocks = 0;
  for (const jpeg_component_info& component : std::span(info.comp_info, static_cast<std::size_t>(info.num_components)))
    blocks += std::uint64_t{component.width_in_blocks} * component.height_in_blocks;
  return blocks / 8 <= size;
}

ImageHeader jpeg_header(const jpeg_decompress_struct& info, std::uint64_t size) {
  ImageHeader header{.format = ImageFormat::jpeg, .height = info.image_height, .width = info.image_width};
  check_claimed_size(header.height, header.width);
  if (info.num_components != 1 && info.num_components != 3 && info.num_components != 4)
    fail("a JPEG of {} channels; 1, 3 and 4 are read", info.num_components);
  if (info.arith_code) fail("a JPEG of arithmetic coding; those of Huffman codes are read");
  if (!may_hold_blocks(info, size)) refuse_claimed_size(header.height, header.width, size);
  header.channels = info.num_components == 1 ? 1 : 3;
  header.mode = info.num_components == 1 ? "grey" : info.num_components == 3 ? "RGB" : "CMYK";
  if (info.num_components == 4) header.conversions.add(Conversion::cmyk);
  if (info.progressive_mode) header.conversions.add(Conversion::interlaced);
  if (jpeg_turns(info)) header.conversions.add(Conversion::orientation);
  return header;
}

std::optional<ImageHeader> read_jpeg_header(std::span<const std::byte> start, std::uint64_t size) {
  JpegReader reader(start);
  if (open_jpeg(reader)) return jpeg_header(reader.info, size);
  if (reader.ends_early && start.size() < size) return {};
  refuse_jpeg(reader);
}

/// Inks, of which 255 is none in files that programs write: what is left of white by one of them and by black.
std::uint8_t light_of(int ink, int black) {
  const int product = (255 - ink) * black + 128;
  return static_cast<std::uint8_t>(std::max(black - ((product + (product >> 8)) >> 8), 0));
}

/// Replaces the four inks of each pixel by RGB, rounding as Pillow does.
void mix_inks(std::vector<std::uint8_t>& pixels) {
  std::uint8_t* out = pixels.data();
  for (std::size_t i = 0; i < pixels.size(); i += 4) {
    const std::uint8_t* inks = pixels.data() + i;
    const std::array<std::uint8_t, 3> light{light_of(inks[0], inks[3]), light_of(inks[1], inks[3]),
                                            light_of(inks[2], inks[3])};
    std::memcpy(out, light.data(), light.size());
    out += light.size();
  }
  pixels.resize(pixels.size() / 4 * 3);
}

DecodedImage decode_jpeg(std::span<const std::byte> bytes) {
  JpegReader reader(bytes);
  if (!open_jpeg(reader)) refuse_jpeg(reader);
  DecodedImage image{jpeg_header(reader.info, bytes.size()), {}};
  const bool inks = reader.info.num_components == 4;
  reader.info.out_color_space = inks ? JCS_CMYK : image.header.channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
  reader.info.dct_method = JDCT_ISLOW;
  const std::int64_t samples = inks ? 4 : image.header.channels;
  image.picture = empty_picture(image.header.height, image.header.width, samples);
  const auto stride = static_cast<std::size_t>(image.header.width * samples);
  if (!read_jpeg_rows(reader, image.picture.pixels.data(), stride)) refuse_jpeg(reader);
  if (inks) mix_inks(image.picture.pixels);
  image.picture.channels = image.header.channels;
  if (reader.has_surplus) image.header.conversions.add(Conversion::surplus);
  return image;
}

}  // namespace

ImageDecoder jpeg_decoder() {
  return {.format = ImageFormat::jpeg,
          .begins =
              [](std::span<const std::byte> start) {
                return start.size() >= 3 && start[0] == std::byte{0xff} && start[1] == std::byte{0xd8} &&
                       start[2] == std::byte{0xff};
              },
          .read_header = read_jpeg_header,
          .decode = decode_jpeg};
}

}  // namespace couplet
