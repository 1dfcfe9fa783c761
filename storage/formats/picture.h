// 8-bit pictures: grids of images, PNG files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace couplet {

/// Interleaved 8-bit pixels [height, width, channels], 1 (grey) or 3 (RGB) channels.
struct Picture {
  std::int64_t height = 0, width = 0, channels = 1;
  std::vector<std::uint8_t> pixels;
};

/// PNG bytes of a picture (no time stamps: equal pixels give equal bytes).
std::string encode_png(const Picture& picture);
/// Publishes a PNG file.
void write_png(const std::filesystem::path& path, const Picture& picture);
/// A PNG file as 8-bit grey or RGB; an error names the file.
Picture read_png(const std::filesystem::path& path);
/// Height, width and channels of what read_png gives of a PNG file, from its first bytes; no pixels. A file that does
/// not begin as a PNG is an error that names it.
Picture read_png_header(const std::filesystem::path& path);
/// Planar images uint8 [count, channels, height, width] laid out row by row, `columns` a row, with `gap` white pixels
/// between.
Picture picture_grid(const std::vector<std::uint8_t>& images, std::int64_t count, std::int64_t channels,
                     std::int64_t height, std::int64_t width, std::int64_t columns, std::int64_t gap = 2);

}  // namespace couplet
