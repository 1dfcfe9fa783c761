// Arrays in NumPy's .npy format, versions 1 to 3 (numpy.org/doc/stable/reference/generated/numpy.lib.format.html):
// files of their own, and the entries of .npz archives.
#pragma once

#include "storage/error.h"
#include "storage/formats/foreign_array.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <utility>

namespace couplet {

/// The bytes of one .npy array, wherever they lie, from the first on.
class NpyBytes {
public:
  virtual ~NpyBytes() = default;
  NpyBytes(const NpyBytes&) = delete;
  NpyBytes& operator=(const NpyBytes&) = delete;

  /// Names file and array in messages.
  const std::string& what() const { return what_; }
  virtual std::uint64_t left() const = 0;
  /// Reads the next bytes; fewer than `out` has are an error.
  virtual void read(std::span<std::byte> out) = 0;
  /// True if `go_to` works: the bytes are not packed.
  virtual bool is_direct() const { return false; }
  /// Has reading go on where `left` bytes are left.
  virtual void go_to(std::uint64_t left) {
    fail("{}: is packed: it cannot be entered where {} bytes are left", what_, left);
  }

protected:
  explicit NpyBytes(std::string what) : what_(std::move(what)) {}

private:
  std::string what_;
};

/// The array that the bytes are. Fortran order, big-endian numbers, elements that are no plain numbers, and more or
/// fewer bytes than the header says are refused.
std::unique_ptr<ForeignArray> open_npy(std::unique_ptr<NpyBytes> bytes);
/// The same of a file.
std::unique_ptr<ForeignArray> open_npy(const std::filesystem::path& path);

}  // namespace couplet
