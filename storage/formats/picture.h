// 8-bit pictures, which are grids of images, and PNG files of them.
#pragma once

#include "storage/images/image.h"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace couplet {

/// Returns a picture's bytes as PNG. They hold no times: equal pixels give equal bytes.
std::string encode_png(const Picture& picture);
/// Publishes a PNG file.
void write_png(const std::filesystem::path& path, const Picture& picture);
/// Reads a PNG file as 8-bit grey or RGB (storage/images/image.h). An error names the file: one that cannot be read, is
/// no PNG file, is damaged, or has no pixels, more than are decoded, or more than its bytes can hold.
Picture read_png(const std::filesystem::path& path);
/// Returns height, width and channels of what read_png returns for a PNG file, from the file's first bytes alone. Its
/// errors are those that these bytes tell.
Picture read_png_header(const std::filesystem::path& path);
constexpr std::int64_t picture_gap = 2;  ///< white pixels between the images of a sheet
/// Lays planar images, uint8 [count, channels, height, width], out row by row, `columns` in a row, with `gap` white
/// pixels between them.
Picture picture_grid(const std::vector<std::uint8_t>& images, std::int64_t count, std::int64_t channels,
                     std::int64_t height, std::int64_t width, std::int64_t columns, std::int64_t gap = picture_gap);

}  // namespace couplet
