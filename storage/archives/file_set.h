// Files that are read in place from a folder or an archive: which there are, by name, and their bytes.
#pragma once

#include "storage/archives/file_names.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace couplet {

/// The bytes of a file that is read whole, at most: as many as the pixels of the largest picture have.
inline constexpr std::uint64_t most_file_bytes = std::uint64_t{1} << 29;

/// A file's name is its path relative to the set, with '/' between the components. The files stand in the order of
/// `path_less`, whatever the file system's or the archive's is. Hidden files, of whose path a component begins with a
/// dot (or is macOS's __MACOSX), are not among them. Reading is safe from several threads.
class FileSet {
public:
  virtual ~FileSet() = default;
  FileSet(const FileSet&) = delete;
  FileSet& operator=(const FileSet&) = delete;

  const std::filesystem::path& path() const { return path_; }
  virtual std::int64_t count() const = 0;
  virtual std::string name(std::int64_t file) const = 0;
  /// Bytes. Of a folder's file it is asked of the file system.
  virtual std::uint64_t size(std::int64_t file) const = 0;
  /// The bytes of a file. These are errors that name it: one that cannot be read, is damaged, has more than
  /// most_file_bytes, or in an archive claims far more than its packed bytes are likely to hold.
  std::vector<std::byte> read(std::int64_t file) const;

  /// A hash that tells whether the files changed, without reading them: of their names, sizes and times of change.
  virtual std::string stamp() const = 0;

  /// What messages call a file: "faces.zip: a/1.png".
  virtual std::string shown(std::int64_t file) const;
  /// The first file whose name is not less than this, in the order of the files; `count()` if there is none.
  std::int64_t lower_bound(std::string_view name) const;
  std::optional<std::int64_t> find(std::string_view name) const;
  /// Tells whether a file lies in that folder, given without '/' at its end, or below it.
  bool has_files_in(std::string_view folder) const;
  /// The folders without a file in them or below, in the order of `path_less`.
  const std::vector<std::string>& empty_folders() const { return empty_folders_; }

protected:
  explicit FileSet(std::filesystem::path path) : path_(std::move(path)) {}
  /// Keeps those of the folders that have no files. The files are known by now.
  void keep_empty(std::vector<std::string> folders);

private:
  /// The bytes of a file of a size that may be read.
  virtual std::vector<std::byte> read_bytes(std::int64_t file) const = 0;

  std::filesystem::path path_;
  std::vector<std::string> empty_folders_;
};

/// What something on the disk is, by its first bytes.
enum class FileSetKind { none, folder, zip, tar, parquet, compressed };
/// Refuses a folder of so many archives, which all stay open, where a process may not have that many files open.
void require_few_open(const std::filesystem::path& folder, std::int64_t archives);
/// Tells what lies there; `none`: neither folder nor archive. What cannot be read is an error.
FileSetKind file_set_kind(const std::filesystem::path& path);

/// Opens a folder, a zip archive, a tar archive, a Parquet file or a folder of some, or a folder of such archives
/// alone, whose files are then named by archive: "train/shard-17/0001.jpg" of train/shard-17.tar. Where images lie
/// beside them, archives are files as any. Refuses, by name, what is none of these, a compressed tar archive, in which
/// files cannot be found without unpacking it from its start, two files of one name, and what the functions below
/// refuse.
std::unique_ptr<FileSet> open_file_set(const std::filesystem::path& path);

/// The files of a folder and of the folders in it. Symbolic links are followed. These are refused by name: pipes,
/// sockets and devices; links that lead nowhere; a folder that is reached twice, as by a link to a folder around it,
/// since its files would count twice.
std::unique_ptr<FileSet> open_folder(const std::filesystem::path& path);
/// The files of a zip archive, stored or deflated, zip64 too (APPNOTE.TXT). Refuses other ways of packing, encryption,
/// links, files that share bytes of the archive, names that lead out of it, and what is damaged.
std::unique_ptr<FileSet> open_zip(const std::filesystem::path& path);
/// The files of a tar archive that is not compressed: POSIX's ustar and pax, GNU's and version 7's. One pass over its
/// headers finds where each file lies. Refuses links, sparse files, devices, names that lead out of it, and an archive
/// that is damaged or cut short.
std::unique_ptr<FileSet> open_tar(const std::filesystem::path& path);
/// The files of the archives that lie in a folder, or in folders in it, and are all that lies there.
std::unique_ptr<FileSet> open_folder_of_archives(const std::filesystem::path& path);

/// The rows of a Parquet file, or of those that lie in a folder and the folders in it, whose other files are left
/// aside. The image of row 17 of train-00000-of-00040.parquet is the file "train/00000-of-00040-000000017.image", and
/// its label, where there are labels, "train/00000-of-00040-000000017.cls" beside it: as WebDataset has it. Folders
/// that all files share are left out. Which columns are meant, and what is refused, storage/parquet/parquet_images.h
/// says.
std::unique_ptr<FileSet> open_parquet(const std::filesystem::path& path);
/// Tells whether there are Parquet files among the first files of a folder.
bool has_parquet(const FileSet& folder);

/// The name of an archive's member as the name of a file: without "./" before it and '/' behind. Nothing of a hidden
/// one. `archive` names the archive in refusals of names that are absolute, lead out of it or are none.
std::optional<std::string> member_name(std::string_view stored, const std::filesystem::path& archive);
/// Size, number and times of change of a file: another text where its bytes may be others.
std::string change_text(const std::filesystem::path& path);
/// The stamp of an archive: of these.
std::string archive_stamp(const std::filesystem::path& path);
/// Tells whether a component of a path says that it is hidden.
bool is_hidden(std::string_view component);
/// Refuses two files of one name. The names are sorted.
void require_distinct(const FileNames& sorted, const std::filesystem::path& archive);

}  // namespace couplet
