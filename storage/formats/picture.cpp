#include "storage/formats/picture.h"

#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/files/file_handle.h"
#include "storage/formats/deflate.h"

#include <png.h>

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstring>
#include <span>
#include <string_view>

namespace couplet {
namespace {

/// Signature, length and name of the first chunk, then width, height, bit depth and colour type.
constexpr std::size_t png_header_bytes = 26;

/// What libpng's callbacks reach: the bytes not yet read, and where the error text goes.
struct PngInput {
  const std::string& bytes;
  std::size_t position = 0;
  char error[200] = {};
};

void keep_error(png_structp png, png_const_charp message) {
  auto* input = static_cast<PngInput*>(png_get_error_ptr(png));
  std::strncpy(input->error, message, sizeof input->error - 1);
  png_longjmp(png, 1);
}

void ignore_warning(png_structp, png_const_charp) {}

void read_input(png_structp png, png_bytep out, png_size_t count) {
  auto* input = static_cast<PngInput*>(png_get_io_ptr(png));
  if (count > input->bytes.size() - input->position) png_error(png, "the file ends too early");
  std::memcpy(out, input->bytes.data() + input->position, count);
  input->position += count;
}

/// Asks libpng for 8-bit grey or RGB whatever the file holds; alpha is dropped and gamma left alone.
void read_header(png_structp png, png_infop info, Picture& picture) {
  png_read_info(png, info);
  png_set_expand(png);
  png_set_scale_16(png);
  png_set_strip_alpha(png);
  png_set_interlace_handling(png);
  png_read_update_info(png, info);
  picture.height = png_get_image_height(png, info);
  picture.width = png_get_image_width(png, info);
  picture.channels = png_get_channels(png, info);
}

/// False, with the reason in `input.error`, if libpng refuses the file. Nothing here needs a destructor: libpng's
/// errors are long jumps.
bool decode(png_structp png, png_infop info, PngInput& input, Picture& picture, std::vector<png_bytep>& rows) {
  if (setjmp(png_jmpbuf(png))) return false;
  png_set_read_fn(png, &input, read_input);
  read_header(png, info, picture);
  const std::size_t stride = png_get_rowbytes(png, info);
  picture.pixels.resize(stride * static_cast<std::size_t>(picture.height));
  rows.resize(static_cast<std::size_t>(picture.height));
  for (std::size_t y = 0; y < rows.size(); ++y) rows[y] = picture.pixels.data() + y * stride;
  png_read_image(png, rows.data());
  png_read_end(png, nullptr);
  return true;
}

/// The bits that a pixel of a PNG file takes in it.
std::uint64_t bits_per_pixel(int depth, int colour) {
  const int channels = colour == PNG_COLOR_TYPE_RGB          ? 3
                       : colour == PNG_COLOR_TYPE_RGB_ALPHA  ? 4
                       : colour == PNG_COLOR_TYPE_GRAY_ALPHA ? 2
                                                             : 1;
  return static_cast<std::uint64_t>(channels) * static_cast<std::uint64_t>(depth);
}

/// What the first bytes of a PNG file say, without pixels. They are refused before any memory is taken for the pixels.
Picture checked_header(const std::filesystem::path& path, std::string_view start, std::uint64_t file_bytes) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(start.data());
  if (start.size() < png_header_bytes || png_sig_cmp(bytes, 0, 8) != 0 || start.substr(12, 4) != "IHDR")
    fail("{}: is no PNG file that can be read: it does not begin as one", path.string());
  const std::int64_t width = png_get_uint_32(bytes + 16), height = png_get_uint_32(bytes + 20);
  if (width == 0 || height == 0)
    fail("{}: is no PNG file that can be read: it claims {} x {} pixels (width, height)", path.string(), width, height);
  if (width > most_picture_pixels / height)
    fail("{}: claims {} x {} pixels (width, height); pictures of at most {} pixels are read", path.string(), width,
         height, most_picture_pixels);
  const std::uint64_t pixels = static_cast<std::uint64_t>(width) * static_cast<std::uint64_t>(height);
  if (pixels * bits_per_pixel(bytes[24], bytes[25]) / 8 > most_inflated_bytes(file_bytes))
    fail("{}: truncated: {} bytes cannot hold the {} x {} pixels (width, height) that it claims", path.string(),
         file_bytes, width, height);
  const bool colour = (bytes[25] & PNG_COLOR_MASK_COLOR) != 0;
  return {height, width, colour ? 3 : 1, {}};
}

/// Owns libpng's read structures.
struct PngReader {
  png_structp png = nullptr;
  png_infop info = nullptr;
  explicit PngReader(PngInput& input)
      : png(png_create_read_struct(PNG_LIBPNG_VER_STRING, &input, keep_error, ignore_warning)),
        info(png ? png_create_info_struct(png) : nullptr) {}
  ~PngReader() { png_destroy_read_struct(&png, &info, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;
};

void check_picture(const Picture& picture) {
  const std::int64_t expected = picture.height * picture.width * picture.channels;
  if (picture.height < 1 || picture.width < 1 || (picture.channels != 1 && picture.channels != 3) ||
      picture.pixels.size() != static_cast<std::size_t>(expected)) {
    fail(
        "a picture of {} x {} pixels with {} channels and {} bytes cannot be written as PNG; expected 1 or 3 channels "
        "and {} bytes",
        picture.height, picture.width, picture.channels, picture.pixels.size(), expected);
  }
}

}  // namespace

std::string encode_png(const Picture& picture) {
  check_picture(picture);
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(picture.width);
  image.height = static_cast<png_uint_32>(picture.height);
  image.format = picture.channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(image);
  std::string bytes(size, '\0');
  if (!png_image_write_to_memory(&image, bytes.data(), &size, 0, picture.pixels.data(), 0, nullptr)) {
    fail("a picture of {} x {} pixels cannot be written as PNG: {}", picture.height, picture.width, image.message);
  }
  bytes.resize(size);
  return bytes;
}

void write_png(const std::filesystem::path& path, const Picture& picture) {
  publish_file(path, encode_png(picture));
}

Picture read_png(const std::filesystem::path& path) {
  const std::string bytes = read_file(path);
  checked_header(path, bytes, bytes.size());
  PngInput input{bytes};
  const PngReader reader(input);
  if (!reader.info) throw std::bad_alloc();
  Picture picture;
  std::vector<png_bytep> rows;
  if (!decode(reader.png, reader.info, input, picture, rows)) {
    fail("{}: is no PNG file that can be read: {}", path.string(), input.error);
  }
  return picture;
}

Picture read_png_header(const std::filesystem::path& path) {
  std::array<char, png_header_bytes> start{};
  const FileHandle file = FileHandle::open_to_read(path);
  const std::size_t there = file.read_some(std::as_writable_bytes(std::span(start)), 0);
  return checked_header(path, {start.data(), there}, file.size());
}

Picture picture_grid(const std::vector<std::uint8_t>& images, std::int64_t count, std::int64_t channels,
                     std::int64_t height, std::int64_t width, std::int64_t columns, std::int64_t gap) {
  if (count < 1 || height < 1 || width < 1 || columns < 1 || gap < 0 || (channels != 1 && channels != 3) ||
      images.size() != static_cast<std::size_t>(count * channels * height * width)) {
    fail("a grid of {} images of [{}, {}, {}] in {} columns cannot be drawn from {} bytes", count, channels, height,
         width, columns, images.size());
  }
  columns = std::min(columns, count);
  const std::int64_t lines = (count + columns - 1) / columns;
  Picture grid{lines * height + (lines - 1) * gap, columns * width + (columns - 1) * gap, channels, {}};
  grid.pixels.assign(static_cast<std::size_t>(grid.height * grid.width * channels), 255);
  const std::uint8_t* source = images.data();
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t top = i / columns * (height + gap);
    const std::int64_t left = i % columns * (width + gap);
    for (std::int64_t c = 0; c < channels; ++c) {
      for (std::int64_t y = 0; y < height; ++y) {
        std::uint8_t* target = grid.pixels.data() + ((top + y) * grid.width + left) * channels + c;
        for (std::int64_t x = 0; x < width; ++x) target[x * channels] = *source++;
      }
    }
  }
  return grid;
}

}  // namespace couplet
