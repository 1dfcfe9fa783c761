// NumPy's .npz files: a zip archive (libzip) of arrays in NumPy's .npy format, version 1.0
// (numpy.org/doc/stable/reference/generated/numpy.lib.format.html). Nothing is held whole in memory.
#pragma once

#include "storage/formats/element_type.h"
#include "storage/formats/foreign_array.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace couplet {

/// Bytes that an archive takes besides its arrays' values, at most.
inline constexpr std::uint64_t npz_overhead = 64 * 1024;

/// Opens an archive, compressed or not, for reading; another file is an error.
std::unique_ptr<ForeignFile> open_npz(const std::filesystem::path& path);
/// The same with the arrays of .npz files that are entries of it: array `noise` of entry "a/7.npz" is "a/7.npz/noise".
/// Such an entry is held in memory while one of its arrays is read; one of more than 256 MiB is refused.
std::unique_ptr<ForeignFile> open_nested_npz(const std::filesystem::path& path);

/// An array [rows, row_shape...] to be written. Its rows are asked for in order, at most `rows_at_once` at a time.
struct NpzArray {
  std::string name;
  ElementType type = ElementType::float32;  ///< not bfloat16, which NumPy lacks
  std::int64_t rows = 0;
  std::vector<std::int64_t> row_shape;
  std::int64_t rows_at_once = 1;
  /// Fills `out` with rows [first, first + count).
  std::function<void(std::int64_t first, std::int64_t count, std::span<std::byte> out)> read;
};

/// Publishes the arrays as an .npz file that numpy.load reads. They are stored without compression and times, so that
/// equal rows give equal bytes. `rows_at_once` rows of one array are held in memory. An error of `read` is thrown on.
void write_npz(const std::filesystem::path& path, const std::vector<NpzArray>& arrays);

}  // namespace couplet
