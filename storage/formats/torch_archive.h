// The zip archives in which PyTorch keeps tensors and programs: members that are stored as they are, in one folder.
#pragma once

#include "storage/archives/zip_directory.h"
#include "storage/files/file_handle.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <unordered_map>
#include <vector>

namespace couplet {

/// An archive that is open for reading. Its members are named without the folder that all lie in: "data.pkl".
class TorchArchive {
public:
  /// A file that is no zip archive, or a damaged one, is an error.
  explicit TorchArchive(const std::filesystem::path& path);

  /// Its path, for messages.
  const std::string& what() const { return what_; }
  /// How many the whole file has.
  std::uint64_t bytes() const { return file_.size(); }
  bool has(const std::string& name) const { return members_.contains(name); }
  /// Whether it is a program of TorchScript.
  bool has_program() const { return has_program_; }
  /// How many bytes a member claims; `read` finds out whether they are there.
  std::uint64_t size(const std::string& name) const { return member(name).size; }
  /// The bytes of a member, which agree with its checksum, if it has one.
  std::vector<std::byte> read(const std::string& name) const;

private:
  const ZipMember& member(const std::string& name) const;

  std::string what_;
  FileHandle file_;
  std::unordered_map<std::string, ZipMember> members_;
  std::uint64_t end_ = 0;  ///< where they end
  bool has_program_ = false;
};

}  // namespace couplet
