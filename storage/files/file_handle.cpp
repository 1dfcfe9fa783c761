#include "storage/files/file_handle.h"

#include "storage/error.h"
#include "storage/files/file_counts.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

namespace couplet {
namespace {

/// The kernel moves at most 2 GiB - 4 KiB a call.
constexpr std::size_t largest_transfer = std::size_t{1} << 30;

int open_or_fail(const std::filesystem::path& path, int flags, const char* purpose) {
  int descriptor = -1;
  do {
    descriptor = ::open(path.c_str(), flags | O_CLOEXEC, 0666);
  } while (descriptor < 0 && errno == EINTR);
  if (descriptor < 0) fail("{}: cannot open to {}: {}", path.string(), purpose, errno_text(errno));
  count_open();
  return descriptor;
}

/// A pipe would be waited for without end, as nobody writes to it.
void require_no_pipe(const std::filesystem::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode))
    fail("{}: is no regular file but a pipe, socket or device; files alone are read", path.string());
}

}  // namespace

std::string errno_text(int error) {
  return fmt::format("{} (errno {})", std::generic_category().message(error), error);
}

int open_to_append(const std::filesystem::path& path) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (file < 0) fail("{}: cannot be opened for appending: {}", path.string(), errno_text(errno));
  count_open();
  return file;
}

bool write_whole(int file, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(file, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    count_written(written);
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

FileHandle::~FileHandle() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

FileHandle::FileHandle(FileHandle&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)) {}

FileHandle& FileHandle::operator=(FileHandle&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

FileHandle FileHandle::open_to_read(const std::filesystem::path& path) {
  require_no_pipe(path);
  return {path, open_or_fail(path, O_RDONLY, "read")};
}

FileHandle FileHandle::create(const std::filesystem::path& path) {
  return {path, open_or_fail(path, O_WRONLY | O_CREAT | O_TRUNC, "write")};
}

FileHandle FileHandle::open_to_change(const std::filesystem::path& path) {
  return {path, open_or_fail(path, O_RDWR, "change")};
}

std::uint64_t FileHandle::size() const {
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) fail("{}: cannot find the size: {}", path_.string(), errno_text(errno));
  if (!S_ISREG(status.st_mode)) fail("{}: is not a regular file", path_.string());
  return static_cast<std::uint64_t>(status.st_size);
}

std::size_t FileHandle::read_some(std::span<std::byte> out, std::uint64_t offset) const {
  std::size_t done = 0;
  while (done < out.size()) {
    const ssize_t n = ::pread(descriptor_, out.data() + done, std::min(out.size() - done, largest_transfer),
                              static_cast<off_t>(offset + done));
    if (n == 0) break;
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail("{}: cannot read at byte {}: {}", path_.string(), offset + done, errno_text(errno));
    done += static_cast<std::size_t>(n);
  }
  count_read(static_cast<std::int64_t>(done));
  return done;
}

void FileHandle::read_at(std::span<std::byte> out, std::uint64_t offset) const {
  const std::size_t found = read_some(out, offset);
  if (found != out.size()) {
    fail("{}: truncated: the file ends at byte {}, expected {} bytes at byte {}", path_.string(), offset + found,
         out.size(), offset);
  }
}

std::vector<std::byte> FileHandle::read_whole() const {
  std::vector<std::byte> bytes(size() + 1);  // one more than there should be: the end is met, not believed
  const std::size_t there = read_some(bytes, 0);
  if (there == bytes.size()) fail("{}: grows while it is read", path_.string());
  bytes.resize(there);
  return bytes;
}

void FileHandle::read_parts(std::span<const iovec> parts, std::uint64_t offset) const {
  const ssize_t n = ::preadv(descriptor_, parts.data(), static_cast<int>(parts.size()), static_cast<off_t>(offset));
  // What one call did not bring, or an error, is met again below, part by part.
  std::size_t there = n > 0 ? static_cast<std::size_t>(n) : 0;
  count_read(static_cast<std::int64_t>(there));
  for (const iovec& part : parts) {
    const std::size_t done = std::min(there, part.iov_len);
    there -= done;
    const auto rest = std::span(static_cast<std::byte*>(part.iov_base), part.iov_len).subspan(done);
    if (!rest.empty()) read_at(rest, offset + done);
    offset += part.iov_len;
  }
}

void FileHandle::write_at(std::span<const std::byte> bytes, std::uint64_t offset) const {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::pwrite(descriptor_, bytes.data() + done, std::min(bytes.size() - done, largest_transfer),
                               static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      fail("{}: cannot write {} bytes at byte {}: {}", path_.string(), bytes.size() - done, offset + done,
           errno_text(errno));
    }
    done += static_cast<std::size_t>(n);
  }
  count_written(static_cast<std::int64_t>(done));
}

void FileHandle::resize(std::uint64_t bytes) const {
  if (::ftruncate(descriptor_, static_cast<off_t>(bytes)) != 0) {
    fail("{}: cannot be given {} bytes: {}", path_.string(), bytes, errno_text(errno));
  }
}

void FileHandle::close() {
  const int descriptor = std::exchange(descriptor_, -1);
  if (descriptor >= 0 && ::close(descriptor) != 0 && errno != EINTR) {
    fail("{}: cannot close: {}", path_.string(), errno_text(errno));
  }
}

}  // namespace couplet
