#include "storage/formats/array_folder.h"

#include "storage/error.h"
#include "storage/filesystem.h"
#include "storage/formats/npy.h"
#include "storage/formats/npz.h"

#include <algorithm>
#include <map>
#include <string>
#include <system_error>
#include <utility>

namespace couplet {
namespace {

/// The array that an .npy file is.
class NpyFile : public ForeignFile {
public:
  explicit NpyFile(fs::path path) : path_(std::move(path)) { static_cast<void>(open_npy(path_)); }

  std::vector<std::string> names() const override { return {path_.stem().string()}; }
  std::unique_ptr<ForeignArray> open(const std::string&) override { return open_npy(path_); }

private:
  fs::path path_;
};

bool has_extension(const fs::path& path, std::initializer_list<const char*> extensions) {
  const std::string extension = path.extension().string();
  return std::ranges::find(extensions, extension) != extensions.end();
}

std::unique_ptr<ForeignFile> open_one_file(const fs::path& path) {
  if (is_archive(path)) return open_npz(path);
  if (is_hdf5(path)) return open_hdf5_tree(path);
  if (has_extension(path, {".npy"})) return std::make_unique<NpyFile>(path);
  refuse("{}: is no file of arrays: expected .npz, .npy or HDF5{}", path.string(),
         has_extension(path, {".npz", ".h5", ".hdf5"}) ? ", whose signature it lacks" : "");
}

class ArrayFolder : public ForeignFile {
public:
  explicit ArrayFolder(const fs::path& folder) {
    for (const fs::path& path : array_files(folder)) add(path);
    if (arrays_.empty()) refuse("{}: holds no arrays: expected files .npy, .npz, .h5 or .hdf5", folder.string());
  }

  std::vector<std::string> names() const override {
    std::vector<std::string> names;
    for (const auto& [name, array] : arrays_) names.push_back(name);
    return names;
  }
  std::map<std::string, std::string> others() const override { return others_; }
  std::unique_ptr<ForeignArray> open(const std::string& name) override {
    const auto& [file, inner] = arrays_.at(name);
    return files_[file].second->open(inner);
  }

private:
  void add(const fs::path& path) {
    files_.emplace_back(path, open_one_file(path));
    const std::string stem = path.stem().string();
    for (const std::string& inner : files_.back().second->names()) {
      const std::string name = has_extension(path, {".npy"}) ? stem : stem + "/" + inner;
      const auto [there, is_new] = arrays_.try_emplace(name, files_.size() - 1, inner);
      if (!is_new)
        refuse("{} and {} both have an array '{}'; remove or rename one of them",
               files_[there->second.first].first.string(), path.string(), name);
    }
    for (const auto& [other, kind] : files_.back().second->others()) others_[stem + "/" + other] = kind;
  }

  std::vector<std::pair<fs::path, std::unique_ptr<ForeignFile>>> files_;
  std::map<std::string, std::pair<std::size_t, std::string>> arrays_;  ///< by name: number of the file, name in it
  std::map<std::string, std::string> others_;
};

}  // namespace

std::vector<std::filesystem::path> array_files(const std::filesystem::path& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return is_there(path) ? std::vector{path} : std::vector<fs::path>{};
  std::vector<fs::path> files;
  fs::directory_iterator entry(path, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    std::error_code ignored;
    if (has_extension(entry->path(), {".npy", ".npz", ".h5", ".hdf5"}) && !fs::is_directory(entry->path(), ignored))
      files.push_back(entry->path());
  }
  if (error) fail("{}: the folder cannot be read: {}", path.string(), error.message());
  std::ranges::sort(files);
  return files;
}

std::unique_ptr<ForeignFile> open_arrays(const std::filesystem::path& path) {
  if (!is_there(path)) refuse("{} does not exist", path.string());
  if (fs::is_directory(path)) return std::make_unique<ArrayFolder>(path);
  return open_one_file(path);
}

}  // namespace couplet
