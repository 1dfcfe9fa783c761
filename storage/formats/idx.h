// IDX files (the MNIST family's format), plain or gzipped.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace couplet {

/// An IDX array of unsigned bytes: `shape[0]` is the number of items.
struct IdxArray {
  std::vector<std::int64_t> shape;
  std::vector<std::uint8_t> values;
};

/// Reads the whole file (gzip is recognised by its content, not its name). A missing or truncated file, trailing bytes,
/// a wrong magic number or element type, and a damaged gzip stream are errors that name the file with found and
/// expected sizes.
IdxArray read_idx(const std::filesystem::path& path);
/// The shape alone, from the first bytes of the file; of the same errors, those that they show.
std::vector<std::int64_t> read_idx_shape(const std::filesystem::path& path);

}  // namespace couplet
