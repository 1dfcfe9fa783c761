// The files of a zip archive. libzip holds some 250 bytes a member, and its handles serve one thread each; so members
// are found by the directory here, and read at their place by any thread.
#include "storage/archives/file_set.h"
#include "storage/archives/zip_directory.h"
#include "storage/deflate.h"
#include "storage/error.h"
#include "storage/files/file_handle.h"
#include "storage/filesystem.h"
#include "storage/text.h"

#include <sys/stat.h>
#include <zlib.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <span>
#include <utility>

namespace couplet {
namespace {

/// Files that unpack to so much more than they are packed are not images: deflate comes to 1032 on zeros alone.
constexpr std::uint64_t most_unpacked_ratio = 200, unpacked_without_doubt = std::uint64_t{1} << 20;

/// Bytes of deflate's format without a header, which unpack to exactly `size` bytes. `what` names the file.
std::vector<std::byte> inflated(std::span<const std::byte> packed, std::uint64_t size, const std::string& what) {
  struct End {
    void operator()(z_stream* stream) const { inflateEnd(stream); }
  };
  z_stream stream{};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) throw std::bad_alloc();
  const std::unique_ptr<z_stream, End> end(&stream);
  std::vector<std::byte> bytes(static_cast<std::size_t>(size));
  std::byte none{};
  stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  stream.next_out = reinterpret_cast<Bytef*>(bytes.empty() ? &none : bytes.data());
  stream.avail_out = static_cast<uInt>(bytes.size());
  const int result = inflate(&stream, Z_FINISH);
  if (result != Z_STREAM_END || stream.avail_out != 0)
    fail("{}: is damaged: its packed bytes are not {} bytes{}{}", what, size, stream.msg ? ": " : "",
         stream.msg ? stream.msg : "");
  return bytes;
}

class ZipFiles : public FileSet {
public:
  explicit ZipFiles(const fs::path& path) : FileSet(path), file_(FileHandle::open_to_read(path)) {
    std::vector<ZipMember> members;
    std::vector<std::string> folders;
    members_end_ = read_zip_directory(file_, utf8_text(path.string()),
                                      [&](const ZipEntry& entry) { take(entry, members, folders); });
    require_apart(members);
    const std::vector<std::uint32_t> order = names_.sort();
    require_distinct(names_, path);
    members_.reserve(order.size());
    for (const std::uint32_t number : order) members_.push_back(members[number]);
    keep_empty(std::move(folders));
  }

  std::int64_t count() const override { return names_.count(); }
  std::string name(std::int64_t file) const override { return std::string(names_[file]); }
  std::uint64_t size(std::int64_t file) const override { return members_[static_cast<std::size_t>(file)].size; }
  std::string stamp() const override { return archive_stamp(path()); }

private:
  void take(const ZipEntry& entry, std::vector<ZipMember>& members, std::vector<std::string>& folders) {
    const auto name = member_name(entry.name, path());
    if (!name) return;
    if (entry.name.ends_with('/')) return folders.push_back(*name);
    const auto refuse_file = [&](const std::string& why) {
      refuse("{}: holds '{}', which {}", utf8_text(path().string()), shown_name(*name), why);
    };
    if (entry.is_encrypted) refuse_file("is encrypted; unpack the archive with its password into a folder");
    if (S_ISLNK(entry.unix_mode)) refuse_file("is a link; write the archive without zip's --symlinks");
    const ZipMember& member = entry.member;
    if (member.method != zip_stored && member.method != zip_deflated)
      refuse_file(
          fmt::format("is packed in a way (number {}) that is not read; write the archive with zip -0", member.method));
    if (member.method == zip_stored && member.packed != member.size)
      refuse_file(fmt::format("is damaged: it is stored, but has {} bytes in {}", member.size, member.packed));
    names_.add(*name);
    members.push_back(member);
  }

  /// Refuses members that lie in the same bytes, by which a small archive could hold any number of them.
  void require_apart(const std::vector<ZipMember>& members) const {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> places;
    places.reserve(members.size());
    for (const ZipMember& member : members) {
      if (member.offset > members_end_ || members_end_ - member.offset < zip_local_header ||
          members_end_ - member.offset - zip_local_header < member.packed)
        fail("{}: is damaged: a file of {} packed bytes should lie at byte {}, but files end at byte {}",
             utf8_text(path().string()), member.packed, member.offset, members_end_);
      places.emplace_back(member.offset, member.offset + zip_local_header + member.packed);
    }
    std::ranges::sort(places);
    for (std::size_t i = 1; i < places.size(); ++i)
      if (places[i].first < places[i - 1].second)
        refuse("{}: has files that lie in the same bytes (at byte {}); such an archive is not read",
               utf8_text(path().string()), places[i].first);
  }

  std::vector<std::byte> read_bytes(std::int64_t file) const override {
    const ZipMember& member = members_[static_cast<std::size_t>(file)];
    if (member.size > unpacked_without_doubt && member.size / most_unpacked_ratio > member.packed)
      fail("{}: would unpack to {} from {}, over {} times as much", shown(file),
           bytes_text(static_cast<std::int64_t>(member.size)), bytes_text(static_cast<std::int64_t>(member.packed)),
           most_unpacked_ratio);
    const std::uint64_t most = std::min<std::uint64_t>(most_inflated_bytes(member.packed), most_file_bytes);
    if (member.packed > most_file_bytes || (member.method == zip_deflated && member.size > most))
      fail("{}: is damaged: {} bytes should unpack to {}", shown(file), member.packed, member.size);
    std::vector<std::byte> packed(static_cast<std::size_t>(member.packed));
    file_.read_at(packed, zip_member_start(file_, member, members_end_, shown(file)));
    std::vector<std::byte> bytes =
        member.method == zip_stored ? std::move(packed) : inflated(packed, member.size, shown(file));
    const auto found = ::crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size());
    if (found != member.checksum)
      fail("{}: is damaged: its checksum is {:08x}, expected {:08x}", shown(file), found, member.checksum);
    return bytes;
  }

  FileHandle file_;
  FileNames names_;
  std::vector<ZipMember> members_;
  std::uint64_t members_end_ = 0;
};

}  // namespace

std::unique_ptr<FileSet> open_zip(const fs::path& path) {
  return std::make_unique<ZipFiles>(path);
}

}  // namespace couplet
