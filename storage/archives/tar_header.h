// The headers of tar archives: POSIX.1-2017's pax interchange format and its ustar, and GNU tar's own
// (gnu.org/software/tar/manual/html_node/Standard.html).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace couplet {

/// An archive is made of blocks of so many bytes.
inline constexpr std::size_t tar_block = 512;

/// What a header block says.
struct TarHeader {
  std::string name;
  std::uint64_t size = 0;  ///< of what follows, in bytes
  char type = '0';         ///< '0' a file, '5' a folder, 'x' records about the next header, ...
};

/// True if the block's checksum is that of its bytes. Fewer bytes than a block are no header.
bool is_tar_header(std::string_view block);
/// Reads a block that is a header; nothing where its numbers are none.
std::optional<TarHeader> read_tar_header(std::string_view block);

/// The value of a key among pax records, "LENGTH KEY=VALUE\n" each; the last one counts. Records that are cut short or
/// give another length than they have are an error that begins with `what`.
std::optional<std::string> pax_value(std::string_view records, std::string_view key, const std::string& what);
/// Tells whether a key among the records begins so.
bool has_pax_key(std::string_view records, std::string_view prefix, const std::string& what);

}  // namespace couplet
