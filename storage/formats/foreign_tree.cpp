#include "storage/formats/foreign_tree.h"

#include "storage/error.h"
#include "storage/formats/npy.h"
#include "storage/formats/npz.h"
#include "storage/text.h"

#include <algorithm>
#include <array>
#include <deque>
#include <set>
#include <string_view>
#include <system_error>
#include <utility>

namespace couplet {
namespace {

constexpr std::string_view npy_extension = ".npy";
constexpr std::array<std::string_view, 4> container_extensions{".npz", ".zip", ".h5", ".hdf5"};

bool may_hold_arrays(const std::filesystem::path& path) {
  const std::string extension = path.extension().string();
  return extension == npy_extension || std::ranges::find(container_extensions, extension) != container_extensions.end();
}

/// X.npy and what belongs to it.
std::vector<std::filesystem::path> files_beside(const std::filesystem::path& path) {
  std::vector<std::filesystem::path> files{path};
  for (const char* ending : {"_label", "_noise"}) {
    std::filesystem::path file = path;
    file.replace_filename(path.stem().string() + ending + path.extension().string());
    if (std::filesystem::exists(file)) files.push_back(file);
  }
  return files;
}

std::vector<std::filesystem::path> files_below(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  std::error_code error;
  std::filesystem::recursive_directory_iterator entry(folder, error);
  for (; !error && entry != std::filesystem::recursive_directory_iterator(); entry.increment(error)) {
    std::error_code unknown;  // of a file that has gone, or that a link does not lead to
    if (entry->path().filename().string().starts_with('.')) {
      entry.disable_recursion_pending();
      continue;
    }
    if (may_hold_arrays(entry->path()) && entry->is_regular_file(unknown)) files.push_back(entry->path());
  }
  if (error) fail("{}: the folder cannot be read: {}", folder.string(), error.message());
  return files;
}

std::unique_ptr<ForeignFile> open_container(const std::filesystem::path& path) {
  if (is_archive(path)) return open_nested_npz(path);
  if (is_hdf5(path)) return open_hdf5_tree(path);
  refuse("{} is neither an .npz nor an HDF5 file", path.string());
}

/// An array that holds the file that it is read from.
class HeldArray : public ForeignArray {
public:
  HeldArray(const std::string& what, std::shared_ptr<ForeignFile> file, std::unique_ptr<ForeignArray> array)
      : ForeignArray(what, array->type(), {array->shape().begin(), array->shape().end()}),
        file_(std::move(file)),
        array_(std::move(array)) {}

private:
  void read_rows(std::int64_t, std::int64_t count, std::span<std::byte> out) override { array_->read_next(count, out); }

  std::shared_ptr<ForeignFile> file_;
  std::unique_ptr<ForeignArray> array_;
};

/// Several files. Names are relative to their folder.
class FileTree : public ForeignFile {
public:
  FileTree(std::filesystem::path folder, const std::vector<std::filesystem::path>& files) : folder_(std::move(folder)) {
    for (const std::filesystem::path& file : files) {
      const std::string name = file.lexically_relative(folder_).string();
      if (file.extension() == npy_extension) {
        names_.push_back(name.substr(0, name.size() - npy_extension.size()));
        continue;
      }
      containers_.insert(name);
      for (const std::string& inner : container(name)->names()) names_.push_back(name + "/" + inner);
    }
  }

  std::vector<std::string> names() const override { return names_; }
  std::unique_ptr<ForeignArray> open(const std::string& name) override {
    for (std::size_t end = name.find('/'); end != std::string::npos; end = name.find('/', end + 1))
      if (const std::string file = name.substr(0, end); containers_.contains(file)) {
        const std::shared_ptr<ForeignFile> opened = container(file);
        return std::make_unique<HeldArray>((folder_ / name).string(), opened, opened->open(name.substr(end + 1)));
      }
    return open_npy(folder_ / (name + std::string(npy_extension)));
  }

private:
  /// A container and its name. Those that were opened last are kept, as arrays that are read side by side do not reach
  /// the next one together.
  using Recent = std::pair<std::string, std::shared_ptr<ForeignFile>>;
  static constexpr std::size_t most_recent = 2;

  std::shared_ptr<ForeignFile> container(const std::string& name) {
    const auto found = std::ranges::find(recent_, name, &Recent::first);
    if (found != recent_.end()) return found->second;
    if (recent_.size() == most_recent) recent_.pop_front();
    recent_.emplace_back(name, open_container(folder_ / name));
    return recent_.back().second;
  }

  std::filesystem::path folder_;
  std::set<std::string> containers_;
  std::vector<std::string> names_;
  std::deque<Recent> recent_;
};

}  // namespace

std::vector<std::filesystem::path> files_with_arrays(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) refuse("{} does not exist", path.string());
  std::vector<std::filesystem::path> files{path};
  if (std::filesystem::is_directory(path))
    files = files_below(path);
  else if (path.extension() == npy_extension)
    files = files_beside(path);
  std::ranges::sort(files, [](const auto& a, const auto& b) { return natural_less(a.string(), b.string()); });
  return files;
}

std::unique_ptr<ForeignFile> open_foreign_tree(const std::filesystem::path& path) {
  const std::vector<std::filesystem::path> files = files_with_arrays(path);
  if (std::filesystem::is_directory(path)) return std::make_unique<FileTree>(path, files);
  if (path.extension() == npy_extension) return std::make_unique<FileTree>(path.parent_path(), files);
  return open_container(path);
}

}  // namespace couplet
