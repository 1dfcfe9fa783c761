// A file descriptor that closes itself, and whose every failure is an error that names the file.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace couplet {

/// The text of an errno value: "No space left on device (errno 28)".
std::string errno_text(int error);

/// Opens or makes a file to whose end every write goes. The caller closes the descriptor.
int open_to_append(const std::filesystem::path& path);
/// Writes all of `text` in as few writes as the kernel allows. Returns false, with errno set, if it cannot.
bool write_whole(int file, std::string_view text);

/// An open file; one that was moved from or made by default is closed. Reads and writes go on until all bytes are
/// through.
class FileHandle {
public:
  FileHandle() = default;
  /// Takes over an open descriptor.
  FileHandle(std::filesystem::path path, int descriptor) : path_(std::move(path)), descriptor_(descriptor) {}
  ~FileHandle();
  FileHandle(FileHandle&& other) noexcept;
  FileHandle& operator=(FileHandle&& other) noexcept;

  /// Opens a regular file or a directory. Anything else, such as a pipe, is an error: it is not waited for.
  static FileHandle open_to_read(const std::filesystem::path& path);
  /// Makes an empty file; one that exists is emptied.
  static FileHandle create(const std::filesystem::path& path);

  /// Opens a file that exists, to read and write.
  static FileHandle open_to_change(const std::filesystem::path& path);

  int descriptor() const { return descriptor_; }
  std::uint64_t size() const;
  /// Reads at most `out.size()` bytes at `offset`; fewer only at the end of the file. Safe from several threads.
  std::size_t read_some(std::span<std::byte> out, std::uint64_t offset) const;
  /// Reads exactly `out.size()` bytes; a file that ends before is an error.
  void read_at(std::span<std::byte> out, std::uint64_t offset) const;
  /// Reads the bytes up to the end that reading meets. A file that is longer than it was said to be is an error.
  std::vector<std::byte> read_whole() const;
  /// Reads the bytes from `offset` on into the parts, one after the other, at most 1024 of them.
  void read_parts(std::span<const iovec> parts, std::uint64_t offset) const;
  void write_at(std::span<const std::byte> bytes, std::uint64_t offset) const;
  /// Cuts the file or extends it with zeros that take no space yet.
  void resize(std::uint64_t bytes) const;
  /// Closes the file. Network file systems report some failed writes only here.
  void close();

private:
  std::filesystem::path path_;
  int descriptor_ = -1;
};

}  // namespace couplet
