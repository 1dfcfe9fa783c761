#include "storage/formats/foreign_array.h"

#include "storage/error.h"
#include "storage/files/file_handle.h"
#include "storage/formats/npz.h"

#include <fmt/ranges.h>

#include <array>
#include <string_view>

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

std::string ForeignArray::description() const {
  return fmt::format("{} [{}]", type_.name(), fmt::join(shape_, ", "));
}

std::size_t ForeignArray::row_bytes() const {
  std::size_t bytes = type_.bytes;
  for (std::size_t i = 1; i < shape_.size(); ++i) bytes *= static_cast<std::size_t>(shape_[i]);
  return bytes;
}

std::unique_ptr<ForeignFile> open_foreign_file(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) refuse("{} does not exist", path.string());
  if (std::filesystem::is_directory(path)) refuse("{} is a directory; expected an .npz or HDF5 file", path.string());
  std::array<char, 8> start{};
  FileHandle::open_to_read(path).read_some(std::as_writable_bytes(std::span(start)), 0);
  const std::string_view text(start.data(), start.size());
  if (text.starts_with("PK")) return open_npz(path);
  if (text == std::string_view("\x89HDF\r\n\x1a\n", 8)) return open_hdf5(path);
  refuse("{} is neither an .npz nor an HDF5 file", path.string());
}

}  // namespace couplet
