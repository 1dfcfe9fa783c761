#include "storage/tables/shard_superblock.h"

#include "storage/error.h"
#include "storage/files/file_handle.h"

#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace couplet {
namespace {

/// The superblock (version 2 or 3) that every shard begins with.
struct Superblock {
  static constexpr std::size_t bytes = 48;
  static constexpr std::string_view signature{"\x89HDF\r\n\x1a\n", 8};
  std::array<char, bytes> content{};

  bool is_hdf5() const { return std::string_view(content.data(), 8) == signature; }
  /// Eight-byte offsets and lengths, and no user block in front.
  bool is_ours() const {
    std::uint64_t base = 0;
    std::memcpy(&base, content.data() + 12, sizeof base);
    return (content[8] == 2 || content[8] == 3) && content[9] == 8 && content[10] == 8 && base == 0;
  }
  std::uint64_t file_size() const {
    std::uint64_t size = 0;
    std::memcpy(&size, content.data() + 28, sizeof size);
    return size;
  }
};

}  // namespace

void check_superblock(const std::filesystem::path& path) {
  const FileHandle file = FileHandle::open_to_read(path);
  const std::uint64_t size = file.size();
  Superblock block;
  const std::size_t read = file.read_some(std::as_writable_bytes(std::span(block.content)), 0);
  if (size == 0) fail("{}: truncated: the file is empty", path.string());
  if (!block.is_hdf5())
    fail("{}: is no HDF5 file, or a shard whose writer did not finish, or its first bytes are damaged", path.string());
  if (read < Superblock::bytes) fail("{}: truncated: {} bytes", path.string(), size);
  if (!block.is_ours()) {
    fail("{}: is an HDF5 file that Couplet did not write (superblock version {}, expected 2 or 3), or is damaged",
         path.string(), static_cast<int>(block.content[8]));
  }
  if (size != block.file_size()) {
    fail("{}: {}: {} bytes, expected {}; delete it and make or fetch it again", path.string(),
         size < block.file_size() ? "truncated" : "has trailing bytes", size, block.file_size());
  }
}

}  // namespace couplet
