// Arrays of files that were made elsewhere (.npz, HDF5). They are read from their first row on and not held in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
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

/// An array in C order, whose first axis is the rows.
class ForeignArray {
public:
  virtual ~ForeignArray() = default;
  ForeignArray(const ForeignArray&) = delete;
  ForeignArray& operator=(const ForeignArray&) = delete;

  const NumberType& type() const { return type_; }
  const std::vector<std::int64_t>& shape() const { return shape_; }
  /// "float32 [100, 1, 28, 28]"
  std::string description() const;
  std::size_t row_bytes() const;
  /// Reads the next `count` rows, little-endian, into `out`, which has exactly their size. With the last row, a
  /// checksum that the file has for the array is compared.
  virtual void read_next(std::int64_t count, std::span<std::byte> out) = 0;

protected:
  ForeignArray(NumberType type, std::vector<std::int64_t> shape) : type_(type), shape_(std::move(shape)) {}

private:
  NumberType type_;
  std::vector<std::int64_t> shape_;
};

class ForeignFile {
public:
  virtual ~ForeignFile() = default;
  ForeignFile() = default;
  ForeignFile(const ForeignFile&) = delete;
  ForeignFile& operator=(const ForeignFile&) = delete;

  /// The names of the arrays at its top level.
  virtual std::vector<std::string> names() const = 0;
  /// Returns the array of that name, one of `names()`, which lives no longer than the file. A type or layout that
  /// cannot be read is an error that names file, array and what was found.
  virtual std::unique_ptr<ForeignArray> open(const std::string& name) = 0;
};

/// Opens an .npz or HDF5 file, which its first bytes distinguish; other files are refused.
std::unique_ptr<ForeignFile> open_foreign_file(const std::filesystem::path& path);
/// Opens the data sets in the root group of an HDF5 file, of any layout and with any filters that the HDF5 library has.
std::unique_ptr<ForeignFile> open_hdf5(const std::filesystem::path& path);

}  // namespace couplet
