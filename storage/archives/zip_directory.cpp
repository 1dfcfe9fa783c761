#include "storage/archives/zip_directory.h"

#include "storage/error.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <span>

namespace couplet {
namespace {

constexpr std::size_t end_bytes = 22, longest_comment = 0xffff, zip64_locator_bytes = 20, zip64_end_bytes = 56,
                      entry_bytes = 46;
constexpr std::uint64_t in_zip64 = 0xffffffff;  ///< in place of a number that the zip64 field has
constexpr std::uint16_t zip64_field = 1;

/// Where the directory lies.
struct ZipDirectoryPlace {
  std::uint64_t entries = 0, bytes = 0, offset = 0;
};

std::string read_text(const FileHandle& file, std::uint64_t offset, std::uint64_t bytes) {
  std::string text(static_cast<std::size_t>(bytes), '\0');
  file.read_at(std::as_writable_bytes(std::span(text)), offset);
  return text;
}

/// The record at the archive's end, and behind it a comment that ends with the file.
std::optional<std::size_t> find_end(std::string_view tail) {
  for (std::size_t at = tail.rfind("PK\5\6"); at != std::string_view::npos; at = tail.rfind("PK\5\6", at - 1)) {
    if (at + end_bytes <= tail.size() && at + end_bytes + little_endian(tail, at + 20, 2) == tail.size()) return at;
    if (at == 0) break;
  }
  return std::nullopt;
}

ZipDirectoryPlace find_directory(const FileHandle& file, const std::string& what) {
  const std::uint64_t size = file.size();
  const std::uint64_t looked_at = std::min<std::uint64_t>(size, end_bytes + longest_comment);
  const std::string tail = read_text(file, size - looked_at, looked_at);
  const auto at = find_end(tail);
  if (!at)
    fail("{}: is cut short: it has no directory of its files at its end, as a zip archive has; fetch it again", what);
  const auto field = [&](std::size_t offset, std::size_t count) { return little_endian(tail, *at + offset, count); };
  ZipDirectoryPlace place{field(10, 2), field(12, 4), field(16, 4)};
  std::uint64_t end = size - looked_at + *at, disk = field(4, 2), disk_of_directory = field(6, 2);
  if (end >= zip64_locator_bytes) {
    const std::string locator = read_text(file, end - zip64_locator_bytes, zip64_locator_bytes);
    if (locator.starts_with("PK\6\7")) {
      const std::uint64_t offset = little_endian(locator, 8, 8);
      if (offset > end || end - offset < zip64_end_bytes + zip64_locator_bytes)
        fail("{}: is damaged: its zip64 record should stand at byte {}", what, offset);
      const std::string record = read_text(file, offset, zip64_end_bytes);
      if (!record.starts_with("PK\6\6")) fail("{}: is damaged: there is no zip64 record at byte {}", what, offset);
      place = {little_endian(record, 32, 8), little_endian(record, 40, 8), little_endian(record, 48, 8)};
      disk = little_endian(record, 16, 4);
      disk_of_directory = little_endian(record, 20, 4);
      end = offset;
    }
  }
  if (disk != 0 || disk_of_directory != 0)
    refuse("{}: is one of the parts of an archive; join them first (zip -s 0 PARTS.zip --out WHOLE.zip)", what);
  if (place.offset > end || place.bytes > end - place.offset)
    fail("{}: is damaged: its directory should have {} bytes at byte {}, but ends before byte {}", what, place.bytes,
         place.offset, end);
  return place;
}

/// Replaces the numbers that did not fit by those of the zip64 field, which stand there in this order.
void read_zip64(std::string_view extra, ZipMember& member, const std::string& what) {
  std::uint64_t* const numbers[] = {&member.size, &member.packed, &member.offset};
  while (extra.size() >= 4) {
    const std::uint64_t tag = little_endian(extra, 0, 2), length = little_endian(extra, 2, 2);
    std::string_view field = extra.substr(4, std::min<std::size_t>(length, extra.size() - 4));
    extra.remove_prefix(4 + field.size());
    if (tag != zip64_field) continue;
    for (std::uint64_t* number : numbers) {
      if (*number != in_zip64) continue;
      if (field.size() < 8) fail("{}: is damaged: a zip64 field of its directory is cut short", what);
      *number = little_endian(field, 0, 8);
      field.remove_prefix(8);
    }
    return;
  }
}

/// The bytes of the directory in order, some of them in memory.
class DirectoryBytes {
public:
  DirectoryBytes(const FileHandle& file, const ZipDirectoryPlace& place, const std::string& what)
      : file_(file), what_(what), next_(place.offset), left_(place.bytes) {}

  bool is_done() const { return left_ == 0 && used_ == held_.size(); }
  /// The next bytes, without passing over them. They are good until the next call.
  std::string_view look(std::size_t bytes) {
    if (held_.size() - used_ < bytes) fill();
    if (held_.size() - used_ < bytes) fail("{}: is damaged: its directory ends within an entry", what_);
    return std::string_view(held_).substr(used_, bytes);
  }
  void pass(std::size_t bytes) { used_ += bytes; }

private:
  void fill() {
    constexpr std::uint64_t at_once = std::uint64_t{1} << 20;
    const std::uint64_t more = std::min(at_once, left_);
    held_ = held_.substr(used_) + read_text(file_, next_, more);
    used_ = 0;
    next_ += more;
    left_ -= more;
  }

  const FileHandle& file_;
  const std::string& what_;
  std::uint64_t next_, left_;
  std::string held_;
  std::size_t used_ = 0;
};

}  // namespace

std::uint64_t little_endian(std::string_view bytes, std::size_t offset, std::size_t count) {
  std::uint64_t number = 0;
  for (std::size_t i = count; i-- > 0;) number = number << 8 | static_cast<unsigned char>(bytes[offset + i]);
  return number;
}

std::uint64_t read_zip_directory(const FileHandle& file, const std::string& what,
                                 const std::function<void(const ZipEntry&)>& take) {
  const ZipDirectoryPlace place = find_directory(file, what);
  DirectoryBytes bytes(file, place, what);
  std::uint64_t entries = 0;
  for (; !bytes.is_done(); ++entries) {
    std::string_view head = bytes.look(entry_bytes);
    if (!head.starts_with("PK\1\2")) fail("{}: is damaged: entry {} of its directory is none", what, entries);
    const auto name = little_endian(head, 28, 2), extra = little_endian(head, 30, 2),
               comment = little_endian(head, 32, 2);
    const std::size_t whole = entry_bytes + name + extra + comment;
    head = bytes.look(whole);
    ZipEntry entry{.name = head.substr(entry_bytes, name),
                   .member = {little_endian(head, 42, 4), little_endian(head, 20, 4), little_endian(head, 24, 4),
                              static_cast<std::uint32_t>(little_endian(head, 16, 4)),
                              static_cast<std::uint16_t>(little_endian(head, 10, 2))},
                   .is_encrypted = (little_endian(head, 8, 2) & 1) != 0};
    constexpr std::uint64_t made_on_unix = 3;
    if (little_endian(head, 5, 1) == made_on_unix)
      entry.unix_mode = static_cast<std::uint32_t>(little_endian(head, 40, 2));
    read_zip64(head.substr(entry_bytes + name, extra), entry.member, what);
    take(entry);
    bytes.pass(whole);
  }
  // Archives of more than 65,535 members without zip64 have the number's lower half.
  if ((entries & 0xffff) != (place.entries & 0xffff))
    fail("{}: is damaged: its directory has {} entries, but it should have {}", what, entries, place.entries);
  return place.offset;
}

std::uint64_t zip_member_start(const FileHandle& file, const ZipMember& member, std::uint64_t end,
                               const std::string& what) {
  if (member.offset > end || end - member.offset < zip_local_header)
    fail("{}: is damaged: it should lie at byte {}, but the archive's files end at byte {}", what, member.offset, end);
  const std::string header = read_text(file, member.offset, zip_local_header);
  const std::uint64_t start =
      member.offset + zip_local_header + little_endian(header, 26, 2) + little_endian(header, 28, 2);
  if (!header.starts_with("PK\3\4") || start > end || end - start < member.packed)
    fail("{}: is damaged: its header at byte {} is none", what, member.offset);
  return start;
}

}  // namespace couplet
