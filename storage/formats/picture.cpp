#include "storage/formats/picture.h"

#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/files/file_handle.h"
#include "storage/images/decoders.h"
#include "storage/images/png_layout.h"

#include <png.h>

#include <algorithm>
#include <array>
#include <span>

namespace couplet {
namespace {

/// Calls `read`, whose errors are then of the file.
template <class Read>
auto read_as_png(const std::filesystem::path& path, Read read) {
  try {
    return read();
  } catch (const Error& error) {
    fail("{}: is no PNG file that can be read: {}", path.string(), error.what());
  }
}

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
  return read_as_png(path, [&] { return png_decoder().decode(std::as_bytes(std::span(bytes))).picture; });
}

Picture read_png_header(const std::filesystem::path& path) {
  const FileHandle file = FileHandle::open_to_read(path);
  std::array<std::byte, png_start_bytes> start{};
  const std::size_t there = file.read_some(start, 0);
  const ImageHeader header =
      read_as_png(path, [&] { return png_layout(std::span(start).first(there), file.size()).header; });
  return {header.height, header.width, header.channels, {}};
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
