// Arrays of files that were made elsewhere (.npz, HDF5). They are read from their first row on and not held in memory;
// array_rows.h reads them in any order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace couplet {

/// The type of an array's numbers.
struct NumberType {
  char kind = 'f';  ///< as NumPy has it: f float (IEEE), i and u integers with and without sign, b truth values
  std::size_t bytes = 4;

  /// "float16", "uint8", "bool", as NumPy names it.
  std::string name() const;
  bool operator==(const NumberType&) const = default;
};

/// An array in C order, whose first axis is the rows. An array without axes, a scalar, is one row.
class ForeignArray {
public:
  virtual ~ForeignArray() = default;
  ForeignArray(const ForeignArray&) = delete;
  ForeignArray& operator=(const ForeignArray&) = delete;

  const NumberType& type() const { return type_; }
  /// The extents, whose product in bytes is below 2^63, also where one of them is 0.
  const std::vector<std::int64_t>& shape() const { return shape_; }
  std::int64_t rows() const { return shape_.empty() ? 1 : shape_.front(); }
  /// "float32 [100, 1, 28, 28]"
  std::string description() const;
  std::size_t row_bytes() const;
  /// Reads the next `count` rows, little-endian, into `out`, which has exactly their size. With the last row, a
  /// checksum that the file has for the array is compared. More rows than are left are an error.
  void read_next(std::int64_t count, std::span<std::byte> out);
  /// True where reading can go on at any row at once: the values lie unpacked in the file, or packed row by row.
  virtual bool is_direct() const { return false; }
  /// Makes `row` the next one of an array that is direct. A checksum is then compared by chance only.
  void go_to(std::int64_t row);

protected:
  /// `what` names file and array in messages. Extents too large for a file are an error.
  ForeignArray(std::string what, NumberType type, const std::vector<std::uint64_t>& shape);
  const std::string& what() const { return what_; }

private:
  /// Reads rows [first, first + count), at least one and of at least one byte, which follow those read before; any of
  /// an array that is direct.
  virtual void read_rows(std::int64_t first, std::int64_t count, std::span<std::byte> out) = 0;

  std::string what_;
  NumberType type_;
  std::vector<std::int64_t> shape_;
  std::int64_t next_ = 0;
};

class ForeignFile {
public:
  virtual ~ForeignFile() = default;
  ForeignFile() = default;
  ForeignFile(const ForeignFile&) = delete;
  ForeignFile& operator=(const ForeignFile&) = delete;

  /// The names of the arrays at its top level; of a tree (below) the paths of all of its arrays.
  virtual std::vector<std::string> names() const = 0;
  /// What else stands at its top level: by name, what it is ("a group", "a link to '/x', where there is nothing").
  virtual std::map<std::string, std::string> others() const { return {}; }
  /// Returns the array of that name, one of `names()`, which lives no longer than the file. A type or layout that
  /// cannot be read, and values that are not there, are refused, naming file, array and what was found.
  virtual std::unique_ptr<ForeignArray> open(const std::string& name) = 0;
};

/// What a file holds, for messages: "noise, image, 'label', which is a group", at most 20 names; "nothing" if it is
/// empty.
std::string contents_text(const ForeignFile& file);

/// Tells whether there is an HDF5 file, or a zip archive, which their signatures say.
bool is_hdf5(const std::filesystem::path& path);
bool is_archive(const std::filesystem::path& path);

/// Opens an .npz or HDF5 file, which their signatures distinguish; other files are refused.
std::unique_ptr<ForeignFile> open_foreign_file(const std::filesystem::path& path);
/// Opens the data sets in the root group of an HDF5 file, of any layout and with any filters that the HDF5 library has.
/// Links are followed. A data set some of whose values are not there is refused (storage/formats/hdf5_storage.h).
std::unique_ptr<ForeignFile> open_hdf5(const std::filesystem::path& path);
/// The same with the data sets of all its groups, whose names are their paths: "0/source".
std::unique_ptr<ForeignFile> open_hdf5_tree(const std::filesystem::path& path);

}  // namespace couplet
