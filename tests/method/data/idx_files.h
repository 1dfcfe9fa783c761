// IDX files written by tests.
#pragma once

#include <gtest/gtest.h>
#include <zlib.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace couplet::testing {

inline std::string idx_text(const std::vector<std::uint32_t>& shape, const std::string& values) {
  std::string bytes{'\0', '\0', '\x08', static_cast<char>(shape.size())};
  for (const std::uint32_t extent : shape)
    for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(extent >> shift);
  return bytes + values;
}

/// Value v of image i of [height, width] is 7 i + 3 v, of which eight bits are kept.
inline std::string idx_pixels(std::uint32_t images, std::uint32_t height, std::uint32_t width) {
  std::string values;
  for (std::uint32_t i = 0; i < images; ++i)
    for (std::uint32_t v = 0; v < height * width; ++v) values += static_cast<char>(7 * i + 3 * v);
  return idx_text({images, height, width}, values);
}

/// Label i is i % classes.
inline std::string idx_labels(std::uint32_t images, std::uint32_t classes) {
  std::string values;
  for (std::uint32_t i = 0; i < images; ++i) values += static_cast<char>(i % classes);
  return idx_text({images}, values);
}

inline void write_text(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

inline void write_packed(const std::filesystem::path& path, const std::string& bytes) {
  gzFile file = gzopen(path.c_str(), "wb");
  ASSERT_EQ(gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size())), static_cast<int>(bytes.size()));
  gzclose(file);
}

}  // namespace couplet::testing
