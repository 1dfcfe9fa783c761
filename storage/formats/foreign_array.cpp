#include "storage/formats/foreign_array.h"

#include "storage/error.h"
#include "storage/files/file_handle.h"
#include "storage/filesystem.h"
#include "storage/formats/npz.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <string_view>
#include <utility>

namespace couplet {

std::string NumberType::name() const {
  switch (kind) {
    case 'f':
      return fmt::format("float{}", 8 * bytes);
    case 'i':
      return fmt::format("int{}", 8 * bytes);
    case 'u':
      return fmt::format("uint{}", 8 * bytes);
    default:
      return "bool";
  }
}

ForeignArray::ForeignArray(std::string what, NumberType type, const std::vector<std::uint64_t>& shape)
    : what_(std::move(what)), type_(type), shape_(shape.begin(), shape.end()) {
  std::int64_t bytes = static_cast<std::int64_t>(type.bytes);
  for (const std::uint64_t extent : shape)
    if (__builtin_mul_overflow(bytes, std::max<std::uint64_t>(extent, 1), &bytes))
      refuse("{} is {} [{}]: impossibly large", what_, type.name(), fmt::join(shape, ", "));
}

std::string ForeignArray::description() const {
  return fmt::format("{} [{}]", type_.name(), fmt::join(shape_, ", "));
}

std::size_t ForeignArray::row_bytes() const {
  std::size_t bytes = type_.bytes;
  for (std::size_t i = 1; i < shape_.size(); ++i) bytes *= static_cast<std::size_t>(shape_[i]);
  return bytes;
}

void ForeignArray::read_next(std::int64_t count, std::span<std::byte> out) {
  if (count < 0 || count > rows() - next_ || out.size() != static_cast<std::size_t>(count) * row_bytes())
    fail("{} is {}: cannot read {} rows from row {} into {} bytes", what_, description(), count, next_, out.size());
  if (!out.empty()) read_rows(next_, count, out);
  next_ += count;
}

void ForeignArray::go_to(std::int64_t row) {
  if (!is_direct() || row < 0 || row > rows())
    fail("{} is {}: cannot go to row {}{}", what_, description(), row, is_direct() ? "" : ", as it is packed");
  next_ = row;
}

std::string contents_text(const ForeignFile& file) {
  constexpr std::size_t most = 20;
  std::vector<std::string> all = file.names();
  for (const auto& [name, what] : file.others()) all.push_back(fmt::format("'{}', which is {}", name, what));
  if (all.empty()) return "nothing";
  const std::size_t more = all.size() - std::min(most, all.size());
  all.resize(all.size() - more);
  return fmt::format("{}{}", fmt::join(all, ", "), more > 0 ? fmt::format(" and {} more", more) : "");
}

namespace {

constexpr std::string_view zip_signature = "PK";
constexpr std::string_view hdf5_signature{"\x89HDF\r\n\x1a\n", 8};

bool stands_at(const FileHandle& file, std::uint64_t offset, std::string_view signature) {
  std::string found(signature.size(), '\0');
  found.resize(file.read_some(std::as_writable_bytes(std::span(found)), offset));
  return found == signature;
}

/// An HDF5 file may begin with a block of its maker's (MATLAB's files do), of 512 bytes or a power of two of that.
bool holds_hdf5(const FileHandle& file) {
  if (stands_at(file, 0, hdf5_signature)) return true;
  const std::uint64_t size = file.size();
  for (std::uint64_t offset = 512; offset < size; offset *= 2)
    if (stands_at(file, offset, hdf5_signature)) return true;
  return false;
}

}  // namespace

bool is_hdf5(const std::filesystem::path& path) {
  return holds_hdf5(FileHandle::open_to_read(path));
}

bool is_archive(const std::filesystem::path& path) {
  return stands_at(FileHandle::open_to_read(path), 0, zip_signature);
}

std::unique_ptr<ForeignFile> open_foreign_file(const std::filesystem::path& path) {
  if (!is_there(path)) refuse("{} does not exist", path.string());
  if (std::filesystem::is_directory(path)) refuse("{} is a directory; expected an .npz or HDF5 file", path.string());
  if (is_archive(path)) return open_npz(path);
  if (is_hdf5(path)) return open_hdf5(path);
  refuse("{} is neither an .npz nor an HDF5 file", path.string());
}

}  // namespace couplet
