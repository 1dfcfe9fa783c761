// The files of a folder.
#include "storage/archives/file_set.h"
#include "storage/error.h"
#include "storage/files/file_handle.h"
#include "storage/files/hash.h"
#include "storage/filesystem.h"
#include "storage/text.h"

#include <sys/stat.h>

#include <cerrno>
#include <map>
#include <span>
#include <system_error>
#include <utility>

namespace couplet {
namespace {

class FolderFiles : public FileSet {
public:
  explicit FolderFiles(const fs::path& path) : FileSet(path) {
    enter(path, "");
    names_.sort();
    keep_empty(std::move(subfolders_));
    entered_.clear();
  }

  std::int64_t count() const override { return names_.count(); }
  std::string name(std::int64_t file) const override { return std::string(names_[file]); }
  std::uint64_t size(std::int64_t file) const override {
    std::error_code error;
    const std::uint64_t bytes = fs::file_size(place_of(file), error);
    if (error) fail("{}: cannot be looked at: {}", shown(file), error.message());
    return bytes;
  }
  std::string stamp() const override {
    ContentHash all;
    for (std::int64_t i = 0; i < count(); ++i) {
      const std::string line = fmt::format("{}\n{}\n", names_[i], change_text(place_of(i)));
      all.add(std::as_bytes(std::span(line)));
    }
    return all.text();
  }
  std::string shown(std::int64_t file) const override { return shown_path(place_of(file)); }

private:
  static std::string shown_path(const fs::path& path) { return shown_name(path.string()); }
  fs::path place_of(std::int64_t file) const { return path() / fs::path(names_[file]); }

  std::vector<std::byte> read_bytes(std::int64_t file) const override {
    return FileHandle::open_to_read(place_of(file)).read_whole();
  }

  /// `name`: that of the folder in the set.
  void enter(const fs::path& folder, const std::string& name) {
    struct stat status {};
    if (::stat(folder.c_str(), &status) != 0)
      fail("{}: the folder cannot be read: {}", shown_path(folder), errno_text(errno));
    const auto [first, is_new] = entered_.try_emplace({status.st_dev, status.st_ino}, folder);
    if (!is_new)
      refuse("{}: is the same folder as {}, whose files would count twice; remove one of them", shown_path(folder),
             shown_path(first->second));
    std::error_code error;
    fs::directory_iterator entry(folder, error);
    for (; !error && entry != fs::directory_iterator(); entry.increment(error)) take(*entry, name);
    if (error) fail("{}: the folder cannot be read: {}", shown_path(folder), error.message());
  }

  void take(const fs::directory_entry& entry, const std::string& folder) {
    const std::string last = entry.path().filename().string();
    if (is_hidden(last)) return;
    const std::string name = folder.empty() ? last : folder + "/" + last;
    std::error_code error;
    const fs::file_status found = entry.status(error);
    if (fs::is_directory(found)) {
      subfolders_.push_back(name);
      return enter(entry.path(), name);
    }
    if (fs::is_regular_file(found)) return names_.add(name);
    if (found.type() == fs::file_type::not_found)
      refuse("{}: is a link that leads nowhere; fetch what it leads to, or remove it", shown_path(entry.path()));
    if (error)
      refuse("{}: cannot be looked at: {}{}", shown_path(entry.path()), error.message(),
             entry.is_symlink() ? "; it is a link" : "");
    refuse("{}: is a pipe, socket or device among the files; remove it", shown_path(entry.path()));
  }

  FileNames names_;
  std::vector<std::string> subfolders_;
  std::map<std::pair<dev_t, ino_t>, fs::path> entered_;  ///< each folder, by the path at which it was met
};

}  // namespace

std::unique_ptr<FileSet> open_folder(const fs::path& path) {
  return std::make_unique<FolderFiles>(path);
}

}  // namespace couplet
