// Zip archives (APPNOTE.TXT) that tests and fuzz targets make by hand, of members that are stored as they are.
#pragma once

#include <zlib.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace couplet::testing {

/// A number's lowest bytes, the lowest first.
inline std::string little_endian_bytes(std::uint64_t number, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(number >> (8 * i) & 0xff);
  return text;
}

/// An archive of members, name and bytes, in that order.
inline std::string zip_archive(const std::vector<std::pair<std::string, std::string>>& members) {
  std::string archive, directory;
  for (const auto& [name, bytes] : members) {
    const auto checksum = ::crc32(0, reinterpret_cast<const Bytef*>(bytes.data()), static_cast<uInt>(bytes.size()));
    const std::string facts = little_endian_bytes(20, 2) + little_endian_bytes(0, 8) +
                              little_endian_bytes(checksum, 4) + little_endian_bytes(bytes.size(), 4) +
                              little_endian_bytes(bytes.size(), 4) + little_endian_bytes(name.size(), 2) +
                              little_endian_bytes(0, 2);
    directory += "PK\1\2" + little_endian_bytes(20, 2) + facts + std::string(10, '\0') +
                 little_endian_bytes(archive.size(), 4) + name;
    archive += "PK\3\4" + facts + name + bytes;
  }
  const std::size_t begin = archive.size();
  return archive + directory + "PK\5\6" + little_endian_bytes(0, 4) + little_endian_bytes(members.size(), 2) +
         little_endian_bytes(members.size(), 2) + little_endian_bytes(directory.size(), 4) +
         little_endian_bytes(begin, 4) + little_endian_bytes(0, 2);
}

}  // namespace couplet::testing
