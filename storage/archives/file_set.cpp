#include "storage/archives/file_set.h"

#include "storage/archives/tar_header.h"
#include "storage/error.h"
#include "storage/files/file_handle.h"
#include "storage/files/hash.h"
#include "storage/filesystem.h"
#include "storage/images/image.h"
#include "storage/text.h"

#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>
#include <utility>

namespace couplet {
namespace {

/// How compressed files begin.
struct Compression {
  std::string_view magic, name, command;
};

constexpr std::array compressions = {Compression{"\x1f\x8b", "gzip", "gunzip"}, Compression{"BZh", "bzip2", "bunzip2"},
                                     Compression{std::string_view("\xfd"
                                                                  "7zXZ\0",
                                                                  6),
                                                 "xz", "unxz"},
                                     Compression{"\x28\xb5\x2f\xfd", "zstd", "unzstd"}};

const Compression* compression_of(std::string_view begin) {
  const auto* found = std::ranges::find_if(compressions, [&](const auto& one) { return begin.starts_with(one.magic); });
  return found == compressions.end() ? nullptr : found;
}

/// The first bytes of a file, as many as a tar header has or the file.
std::string first_bytes(const fs::path& path) {
  std::string begin(tar_block, '\0');
  const FileHandle file = FileHandle::open_to_read(path);
  begin.resize(file.read_some(std::as_writable_bytes(std::span(begin)), 0));
  return begin;
}

FileSetKind kind_of(std::string_view begin) {
  // A zip archive begins with a file, or with its end if it has none.
  if (begin.starts_with("PK\3\4") || begin.starts_with("PK\5\6")) return FileSetKind::zip;
  if (begin.starts_with("PAR1")) return FileSetKind::parquet;
  if (is_tar_header(begin)) return FileSetKind::tar;
  return compression_of(begin) ? FileSetKind::compressed : FileSetKind::none;
}

/// Tells whether a folder is one of archives: there are some among its first files, and no image.
bool has_archives(const FileSet& folder) {
  constexpr std::int64_t most_looked_at = 100;
  bool found = false;
  for (std::int64_t i = 0; i < std::min(folder.count(), most_looked_at); ++i) {
    const std::string begin = first_bytes(folder.path() / fs::path(folder.name(i)));
    if (begins_as_image(std::as_bytes(std::span(begin)))) return false;
    const FileSetKind kind = kind_of(begin);
    found = found || kind == FileSetKind::zip || kind == FileSetKind::tar;
  }
  return found;
}

}  // namespace

std::vector<std::byte> FileSet::read(std::int64_t file) const {
  if (const std::uint64_t bytes = size(file); bytes > most_file_bytes)
    fail("{}: has {}; a file that is read whole has at most {}", shown(file),
         bytes_text(static_cast<std::int64_t>(bytes)), bytes_text(static_cast<std::int64_t>(most_file_bytes)));
  return read_bytes(file);
}

std::string FileSet::shown(std::int64_t file) const {
  return fmt::format("{}: {}", utf8_text(path_.string()), shown_name(name(file)));
}

std::int64_t FileSet::lower_bound(std::string_view name) const {
  std::int64_t first = 0;
  for (std::int64_t left = count(); left > 0;) {
    const std::int64_t half = left / 2;
    if (path_less(this->name(first + half), name)) {
      first += half + 1;
      left -= half + 1;
    } else {
      left = half;
    }
  }
  return first;
}

std::optional<std::int64_t> FileSet::find(std::string_view name) const {
  const std::int64_t place = lower_bound(name);
  return place < count() && this->name(place) == name ? std::optional(place) : std::nullopt;
}

bool FileSet::has_files_in(std::string_view folder) const {
  const std::string inside = std::string(folder) + "/";
  const std::int64_t place = lower_bound(inside);
  return place < count() && name(place).starts_with(inside);
}

void FileSet::keep_empty(std::vector<std::string> folders) {
  std::erase_if(folders, [&](const std::string& folder) { return has_files_in(folder); });
  std::ranges::sort(folders, path_less);
  folders.erase(std::unique(folders.begin(), folders.end()), folders.end());
  empty_folders_ = std::move(folders);
}

FileSetKind file_set_kind(const fs::path& path) {
  std::error_code error;
  const fs::file_status found = fs::status(path, error);
  if (fs::is_directory(found)) return FileSetKind::folder;
  return fs::is_regular_file(found) ? kind_of(first_bytes(path)) : FileSetKind::none;
}

std::unique_ptr<FileSet> open_file_set(const fs::path& path) {
  const std::string shown = utf8_text(path.string());
  if (!is_there(path)) refuse("{}: does not exist; expected a folder, a zip or tar archive, or a Parquet file", shown);
  switch (file_set_kind(path)) {
    case FileSetKind::folder: {
      auto folder = open_folder(path);
      if (has_parquet(*folder)) return open_parquet(path);
      return has_archives(*folder) ? open_folder_of_archives(path) : std::move(folder);
    }
    case FileSetKind::zip:
      return open_zip(path);
    case FileSetKind::tar:
      return open_tar(path);
    case FileSetKind::parquet:
      return open_parquet(path);
    case FileSetKind::compressed: {
      const Compression& how = *compression_of(first_bytes(path));
      refuse(
          "{}: is compressed as a whole ({}), so that no file in it can be read without all those before it; unpack it "
          "once ({} -k), or into a folder",
          shown, how.name, how.command);
    }
    case FileSetKind::none:
      break;
  }
  refuse("{}: is neither a folder, nor a zip or tar archive, nor a Parquet file", shown);
}

std::string change_text(const fs::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0)
    fail("{}: cannot be looked at: {}", utf8_text(path.string()), errno_text(errno));
  return fmt::format("{} {} {}.{} {}.{}", status.st_size, status.st_ino, status.st_mtim.tv_sec, status.st_mtim.tv_nsec,
                     status.st_ctim.tv_sec, status.st_ctim.tv_nsec);
}

std::string archive_stamp(const fs::path& path) {
  return hash_text(change_text(path));
}

void require_few_open(const fs::path& folder, std::int64_t archives) {
  rlimit limit{};
  const bool known = ::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
  if (known && static_cast<rlim_t>(archives) > limit.rlim_cur / 2)
    refuse(
        "{}: holds {} archives, which stay open, but a process may have {} files open; raise the limit (ulimit -n) or "
        "unpack them",
        utf8_text(folder.string()), archives, limit.rlim_cur);
}

bool is_hidden(std::string_view component) {
  return component.starts_with('.') || component == "__MACOSX";
}

std::optional<std::string> member_name(std::string_view stored, const fs::path& archive) {
  std::string name;
  const auto refuse_name = [&](const char* what) {
    refuse("{}: holds '{}', a name that {}; such an archive is not read", utf8_text(archive.string()),
           shown_name(stored), what);
  };
  if (stored.starts_with('/')) refuse_name("begins at the root");
  if (stored.find('\0') != std::string_view::npos) refuse_name("holds the byte 0");
  bool hidden = false;
  for (std::string_view rest = stored; !rest.empty();) {
    const std::size_t end = std::min(rest.find('/'), rest.size());
    const std::string_view component = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (component == "..") refuse_name("leads out of it");
    if (component.empty() || component == ".") continue;
    hidden = hidden || is_hidden(component);
    if (!name.empty()) name += '/';
    name += component;
  }
  if (hidden || name.empty()) return std::nullopt;
  return name;
}

void require_distinct(const FileNames& sorted, const fs::path& archive) {
  for (std::int64_t i = 1; i < sorted.count(); ++i)
    if (sorted[i] == sorted[i - 1])
      refuse("{}: holds two files of the name '{}'; write the archive anew instead of adding to it",
             utf8_text(archive.string()), shown_name(sorted[i]));
}

}  // namespace couplet
