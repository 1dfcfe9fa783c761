// The files of a tar archive.
#include "storage/archives/file_set.h"
#include "storage/archives/tar_header.h"
#include "storage/error.h"
#include "storage/files/file_handle.h"
#include "storage/filesystem.h"
#include "storage/text.h"

#include <algorithm>
#include <charconv>
#include <span>
#include <utility>

namespace couplet {
namespace {

/// Of a long name or of pax records, which are held in memory.
constexpr std::uint64_t most_tar_record_bytes = std::uint64_t{1} << 20;

/// Where a file lies in the archive.
struct TarMember {
  std::uint64_t offset = 0, size = 0;
};

/// Goes from header to header of an archive.
class TarPass {
public:
  TarPass(const fs::path& path, const FileHandle& file)
      : path_(path), shown_(utf8_text(path.string())), file_(file), bytes_(file.size()) {}

  void run() {
    while (const auto header = next_header()) take(*header);
    require_end();
  }

  FileNames names;
  std::vector<TarMember> members;
  std::vector<std::string> folders;

private:
  std::string read_text(std::uint64_t offset, std::uint64_t bytes) const {
    std::string text(static_cast<std::size_t>(bytes), '\0');
    file_.read_at(std::as_writable_bytes(std::span(text)), offset);
    return text;
  }

  /// A block of the archive, good until the next call. Headers of small files stand close together.
  std::string_view block_at(std::uint64_t offset) {
    constexpr std::uint64_t at_once = 32 * tar_block;
    if (offset < held_at_ || offset + tar_block > held_at_ + held_.size()) {
      held_ = read_text(offset, std::min(at_once, bytes_ - offset));
      held_at_ = offset;
    }
    return std::string_view(held_).substr(offset - held_at_, tar_block);
  }

  /// The header at `next_`, with what records before it say; nothing where the archive ends.
  std::optional<TarHeader> next_header() {
    std::string records, long_name;
    for (;;) {
      if (next_ + tar_block > bytes_)
        fail("{}: is cut short: it ends at byte {} without the blocks of zeros that end a tar archive; fetch it again",
             shown_, bytes_);
      const std::string_view block = block_at(next_);
      if (std::ranges::all_of(block, [](char byte) { return byte == '\0'; })) {
        if (!records.empty() || !long_name.empty()) fail("{}: ends behind records about a file", shown_);
        return std::nullopt;
      }
      auto header = is_tar_header(block) ? read_tar_header(block) : std::nullopt;
      if (!header) fail("{}: is damaged: there is no header at byte {}, where one is expected", shown_, next_);
      next_ += tar_block;
      if (header->type == 'x' || header->type == 'X') {
        records = read_records(*header);
      } else if (header->type == 'L') {
        long_name = read_records(*header);
        long_name.resize(std::min(long_name.size(), long_name.find('\0')));
      } else if (header->type == 'g' || header->type == 'K' || header->type == 'V') {
        skip(*header);  // records about all files, a link's long target, the archive's name
      } else {
        apply(records, long_name, *header);
        return header;
      }
    }
  }

  /// Passes over the bytes that follow a header, which must be there.
  void skip(const TarHeader& header) {
    if (header.size > bytes_ - next_)
      fail("{}: is cut short: {} of '{}' should follow byte {}, but the archive ends at byte {}; fetch it again",
           shown_, bytes_text(static_cast<std::int64_t>(std::min<std::uint64_t>(header.size, INT64_MAX))),
           shown_name(header.name), next_, bytes_);
    next_ += (header.size + tar_block - 1) / tar_block * tar_block;
  }

  std::string read_records(const TarHeader& header) {
    const std::uint64_t first = next_;
    skip(header);
    if (header.size > most_tar_record_bytes)
      fail("{}: is damaged: a name or its records at byte {} take {} bytes", shown_, first, header.size);
    return read_text(first, header.size);
  }

  void apply(const std::string& records, const std::string& long_name, TarHeader& header) const {
    if (!long_name.empty()) header.name = long_name;
    if (records.empty()) return;
    if (const auto name = pax_value(records, "path", shown_)) header.name = *name;
    if (const auto size = pax_value(records, "size", shown_)) {
      const char* end = size->data() + size->size();
      if (std::from_chars(size->data(), end, header.size).ptr != end)
        fail("{}: is damaged: a pax record gives '{}' a size that is no number", shown_, shown_name(header.name));
    }
    if (has_pax_key(records, "GNU.sparse.", shown_)) header.type = 'S';
  }

  void take(const TarHeader& header) {
    const auto name = member_name(header.name, path_);
    if (header.type == '5') {
      if (name) folders.push_back(*name);
      return;
    }
    const std::uint64_t first = next_;
    if (header.type == '1' || header.type == '2') {  // links, which no bytes follow
      if (name)
        refuse(
            "{}: holds the link '{}'; write the archive with what links lead to (tar --dereference "
            "--hard-dereference)",
            shown_, shown_name(header.name));
      return;
    }
    skip(header);
    if (!name) return;
    if (header.type == 'S')
      refuse("{}: holds '{}' as a sparse file; write the archive without --sparse", shown_, shown_name(header.name));
    if (header.type != '0' && header.type != '7')
      refuse("{}: holds '{}', which is no file but of type '{}' (a device, a pipe, or a part of a larger archive)",
             shown_, shown_name(header.name), shown_name(std::string_view(&header.type, 1)));
    names.add(*name);
    members.push_back({first, header.size});
  }

  /// Refuses more files behind the archive's end, which would be left out.
  void require_end() const {
    constexpr std::uint64_t looked_at = std::uint64_t{1} << 16;
    const std::string rest = read_text(next_, std::min(looked_at, bytes_ - next_));
    if (std::ranges::any_of(rest, [](char byte) { return byte != '\0'; }))
      refuse(
          "{}: goes on behind its end at byte {}: archives that were joined are read one by one; put them into a "
          "folder",
          shown_, next_);
  }

  const fs::path& path_;
  std::string shown_;
  const FileHandle& file_;
  std::uint64_t bytes_ = 0, next_ = 0;
  std::string held_;  ///< the bytes from `held_at_` on
  std::uint64_t held_at_ = 0;
};

class TarFiles : public FileSet {
public:
  explicit TarFiles(const fs::path& path) : FileSet(path), file_(FileHandle::open_to_read(path)) {
    TarPass pass(path, file_);
    pass.run();
    names_ = std::move(pass.names);
    const std::vector<std::uint32_t> order = names_.sort();
    require_distinct(names_, path);
    members_.reserve(order.size());
    for (const std::uint32_t number : order) members_.push_back(pass.members[number]);
    keep_empty(std::move(pass.folders));
  }

  std::int64_t count() const override { return names_.count(); }
  std::string name(std::int64_t file) const override { return std::string(names_[file]); }
  std::uint64_t size(std::int64_t file) const override { return members_[static_cast<std::size_t>(file)].size; }
  std::string stamp() const override { return archive_stamp(path()); }

private:
  std::vector<std::byte> read_bytes(std::int64_t file) const override {
    const TarMember& member = members_[static_cast<std::size_t>(file)];
    std::vector<std::byte> bytes(static_cast<std::size_t>(member.size));
    file_.read_at(bytes, member.offset);
    return bytes;
  }

  FileHandle file_;
  FileNames names_;
  std::vector<TarMember> members_;
};

}  // namespace

std::unique_ptr<FileSet> open_tar(const fs::path& path) {
  return std::make_unique<TarFiles>(path);
}

}  // namespace couplet
