#include "storage/formats/torch_archive.h"

#include "storage/error.h"
#include "storage/json_text.h"
#include "storage/text.h"

#include <fmt/format.h>
#include <libdeflate.h>

namespace couplet {

TorchArchive::TorchArchive(const std::filesystem::path& path)
    : what_(utf8_text(path.string())), file_(FileHandle::open_to_read(path)) {
  end_ = read_zip_directory(file_, what_, [&](const ZipEntry& entry) {
    const std::string name(entry.name.substr(entry.name.find('/') + 1));
    if (entry.is_encrypted) refuse("{}: its member {} is encrypted", what_, json_excerpt(utf8_text(name)));
    if (!members_.emplace(name, entry.member).second)
      refuse("{}: holds two members {}; PyTorch writes one of each", what_, json_excerpt(utf8_text(name)));
    has_program_ = has_program_ || name == "constants.pkl" || name.starts_with("code/");
  });
}

std::vector<std::byte> TorchArchive::read(const std::string& name) const {
  const ZipMember& found = member(name);
  const std::string shown = fmt::format("{}: member {}", what_, json_excerpt(name));
  if (found.method != zip_stored || found.packed != found.size)
    refuse("{}: is compressed, which PyTorch does not do; write the archive anew with zip -0", shown);
  const std::uint64_t start = zip_member_start(file_, found, end_, shown);
  std::vector<std::byte> bytes(static_cast<std::size_t>(found.size));
  file_.read_at(bytes, start);
  // torch.save can be told to leave checksums out: they are 0 then.
  const auto checksum = libdeflate_crc32(0, bytes.data(), bytes.size());
  if (found.checksum != 0 && checksum != found.checksum)
    fail("{}: is damaged: its checksum is {:08x}, expected {:08x}; fetch the file again", shown, checksum,
         found.checksum);
  return bytes;
}

const ZipMember& TorchArchive::member(const std::string& name) const {
  const auto found = members_.find(name);
  if (found == members_.end()) fail("{}: is damaged: it has no member {}", what_, json_excerpt(name));
  return found->second;
}

}  // namespace couplet
