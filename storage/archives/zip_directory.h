// The central directory of a zip archive (APPNOTE.TXT, sections 4.3.7 to 4.5.3): where its members lie.
#pragma once

#include "storage/files/file_handle.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace couplet {

/// The bytes of a member's local header before its name.
inline constexpr std::uint64_t zip_local_header = 30;
/// Ways of packing.
inline constexpr std::uint16_t zip_stored = 0, zip_deflated = 8;

struct ZipMember {
  std::uint64_t offset = 0;  ///< of its local header
  std::uint64_t packed = 0, size = 0;
  std::uint32_t checksum = 0;  ///< CRC-32 of its bytes
  std::uint16_t method = zip_stored;
};

/// What else the directory says of a member.
struct ZipEntry {
  std::string_view name;
  ZipMember member;
  bool is_encrypted = false;
  std::uint32_t unix_mode = 0;  ///< 0: not said
};

/// Hands every entry of the directory to `take`, in the archive's order; the directory is never held whole. Returns
/// where it begins, which is where the members end. One that is damaged, cut short or spread over several files is an
/// error that begins with `what`.
std::uint64_t read_zip_directory(const FileHandle& file, const std::string& what,
                                 const std::function<void(const ZipEntry&)>& take);

/// Where a member's packed bytes begin: behind its local header, its name and its fields there. `end` is where members
/// end. A place beyond it, or a header that is none, is an error that begins with `what`, which names the member.
std::uint64_t zip_member_start(const FileHandle& file, const ZipMember& member, std::uint64_t end,
                               const std::string& what);

/// A number of `bytes` bytes at `offset`, the lowest byte first.
std::uint64_t little_endian(std::string_view bytes, std::size_t offset, std::size_t count);

}  // namespace couplet
