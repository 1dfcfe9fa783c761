// PNG images of any kind, by libpng, whose errors are long jumps: nothing between them and setjmp has a destructor.
#include "storage/error.h"
#include "storage/images/decoders.h"
#include "storage/images/png_layout.h"

#include <png.h>

#include <csetjmp>
#include <cstring>
#include <new>

namespace couplet {
namespace {

/// What libpng's callbacks reach: the bytes not yet read, and where the error text goes.
struct PngInput {
  std::span<const std::byte> bytes;
  char error[200] = {};
};

void keep_png_error(png_structp png, png_const_charp message) {
  auto* input = static_cast<PngInput*>(png_get_error_ptr(png));
  std::strncpy(input->error, message, sizeof input->error - 1);
  png_longjmp(png, 1);
}

void ignore_png_warning(png_structp, png_const_charp) {}

void read_png_input(png_structp png, png_bytep out, png_size_t count) {
  auto* input = static_cast<PngInput*>(png_get_io_ptr(png));
  if (count > input->bytes.size()) png_error(png, "truncated, it ends too early");
  std::memcpy(out, input->bytes.data(), count);
  input->bytes = input->bytes.subspan(count);
}

/// Owns libpng's read structures.
struct PngReader {
  png_structp png = nullptr;
  png_infop info = nullptr;
  explicit PngReader(PngInput& input)
      : png(png_create_read_struct(PNG_LIBPNG_VER_STRING, &input, keep_png_error, ignore_png_warning)),
        info(png ? png_create_info_struct(png) : nullptr) {}
  ~PngReader() { png_destroy_read_struct(&png, &info, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;
};

/// Asks for 8-bit grey or RGB whatever the file holds; gamma is left alone.
bool begin_png(PngReader& reader, PngInput& input) {
  if (setjmp(png_jmpbuf(reader.png))) return false;
  png_set_read_fn(reader.png, &input, read_png_input);
  // All chunks but those that pixels depend on: libpng takes the memory that some claim before it reads them.
  // Its own list of such chunks lacks eXIf.
  png_set_keep_unknown_chunks(reader.png, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
  png_set_keep_unknown_chunks(reader.png, PNG_HANDLE_CHUNK_NEVER, reinterpret_cast<png_const_bytep>("eXIf"), 1);
  png_read_info(reader.png, reader.info);
  png_set_expand(reader.png);
  png_set_strip_16(reader.png);
  png_set_strip_alpha(reader.png);
  png_set_interlace_handling(reader.png);
  png_read_update_info(reader.png, reader.info);
  return true;
}

bool read_png_rows(PngReader& reader, std::vector<png_bytep>& rows) {
  if (setjmp(png_jmpbuf(reader.png))) return false;
  png_read_image(reader.png, rows.data());
  png_read_end(reader.png, nullptr);
  return true;
}

}  // namespace

Picture decode_png_by_library(std::span<const std::byte> bytes, const ImageHeader& header) {
  PngInput input{bytes};
  PngReader reader(input);
  if (!reader.info) throw std::bad_alloc();
  Picture picture;
  std::vector<png_bytep> rows;
  bool good = begin_png(reader, input);
  if (good) {
    picture = empty_picture(header.height, header.width, header.channels);
    const std::size_t stride = static_cast<std::size_t>(header.width * header.channels);
    if (png_get_rowbytes(reader.png, reader.info) != stride)
      fail("damaged PNG: its rows take {} bytes, not {}", png_get_rowbytes(reader.png, reader.info), stride);
    for (std::int64_t y = 0; y < header.height; ++y)
      rows.push_back(picture.pixels.data() + static_cast<std::size_t>(y) * stride);
    good = read_png_rows(reader, rows);
  }
  if (!good) fail("damaged PNG: {}", input.error);
  return picture;
}

}  // namespace couplet
