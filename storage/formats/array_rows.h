// The rows of arrays that others made, in any order.
#pragma once

#include "storage/files/file_handle.h"
#include "storage/formats/foreign_array.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace couplet {

/// A file whose arrays may be read by several threads: one at a time.
struct ArrayFile {
  std::string name;  ///< in messages
  std::unique_ptr<ForeignFile> file;
  /// Where packed arrays are unpacked to; empty: the folder of temporary files (TMPDIR).
  std::filesystem::path scratch = {};
  std::mutex mutex = {};
};

/// One array of a file. May be used by several threads at once.
///
/// Rows in ascending order are read as they stand. A packed array cannot be entered in its middle: to inflate it from
/// its start for each of many reads would take time that grows with the square of its size. So when reading first goes
/// back, its rows are unpacked, once and as far as they are asked for, into a file without a name in the scratch
/// folder, which the system removes when the array is closed. Any order of reads thus inflates each row twice at most,
/// and costs as much disk as the array has bytes. What is not packed is read where it lies.
class ArrayRows {
public:
  /// The array of that name, which the file has.
  ArrayRows(std::shared_ptr<ArrayFile> file, std::string name);

  /// "images.npz: array 'x_train'"
  const std::string& what() const { return what_; }
  const NumberType& type() const { return type_; }
  const std::vector<std::int64_t>& shape() const { return shape_; }
  std::int64_t rows() const { return rows_; }
  std::size_t row_bytes() const { return row_bytes_; }
  /// "float32 [100, 1, 28, 28]"
  const std::string& description() const { return description_; }

  /// Reads rows [first, first + count), little-endian, into `out`, which has exactly their size.
  void read(std::int64_t first, std::int64_t count, std::span<std::byte> out);
  /// Reads the first `rows` rows in order, in pieces of some MiB, and gives each to `look`. To the last row, checksums
  /// are compared.
  void for_each_piece(std::int64_t rows,
                      const std::function<void(std::int64_t first, std::span<const std::byte> piece)>& look);

private:
  /// How many rows are read at once where they are only passed.
  std::int64_t piece_rows() const;
  std::unique_ptr<ForeignArray> open_array() { return file_->file->open(name_); }
  void start_scratch();
  void unpack_to(std::int64_t end);
  void skip_to(std::int64_t row);

  std::shared_ptr<ArrayFile> file_;
  std::string name_, what_, description_;
  NumberType type_;
  std::vector<std::int64_t> shape_;
  std::int64_t rows_ = 0;
  std::size_t row_bytes_ = 0;
  std::unique_ptr<ForeignArray> array_;  ///< none once all rows are unpacked
  std::int64_t next_ = 0;                ///< row of `array_`
  std::optional<FileHandle> unpacked_;   ///< rows [0, next_)
};

}  // namespace couplet
