#include "method/data/png_folder.h"

#include "pipeline/tensor/tensor_bytes.h"
#include "storage/error.h"
#include "storage/filesystem.h"
#include "storage/formats/picture.h"
#include "storage/tables/filenames.h"

#include <ATen/ATen.h>
#include <boost/algorithm/string/predicate.hpp>

#include <algorithm>
#include <map>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

namespace couplet {
namespace {

class PngImages : public ImageSet {
public:
  PngImages(const fs::path& directory, const ImageSetShape& shape, std::vector<fs::path> files)
      : ImageSet(directory.string(), shape), files_(std::move(files)) {}

  at::Tensor read(std::int64_t first, std::int64_t count) override {
    at::Tensor rows = at::empty({count, shape().height, shape().width, shape().channels}, at::kByte);
    const std::span<std::byte> bytes = writable_bytes(rows);
    const std::size_t row_bytes = bytes.size() / static_cast<std::size_t>(count);
    for (std::int64_t i = 0; i < count; ++i) {
      const Picture picture = read_png(files_[static_cast<std::size_t>(first + i)]);
      if (picture.pixels.size() != row_bytes)
        fail("{}: changed since it was looked at", files_[static_cast<std::size_t>(first + i)].string());
      std::ranges::copy(std::as_bytes(std::span(picture.pixels)),
                        bytes.begin() + i * static_cast<std::int64_t>(row_bytes));
    }
    return rows.permute({0, 3, 1, 2}).contiguous();
  }

private:
  std::vector<fs::path> files_;
};

/// Finds the PNG files of a folder.
class FolderWalk {
public:
  explicit FolderWalk(const fs::path& directory) {
    enter(directory);
    std::ranges::sort(files_);
  }
  /// In the order of their paths.
  std::vector<fs::path> files() && { return std::move(files_); }

private:
  void enter(const fs::path& folder) {
    std::error_code error;
    const auto [first, is_new] = folders_.try_emplace(fs::canonical(folder, error), folder);
    if (!error && !is_new)
      refuse("{}: is the same folder as {}, whose images would count twice; remove one of them", folder.string(),
             first->second.string());
    fs::directory_iterator entry;
    if (!error) entry = fs::directory_iterator(folder, error);
    for (; !error && entry != fs::directory_iterator(); entry.increment(error)) take(entry->path());
    if (error) fail("{}: the folder cannot be read: {}", folder.string(), error.message());
  }

  void take(const fs::path& path) {
    if (path.filename().string().starts_with(".")) return;
    std::error_code error;
    const fs::file_status found = fs::status(path, error);
    if (fs::is_directory(found)) return enter(path);
    if (found.type() == fs::file_type::not_found)
      refuse("{}: is a link that leads nowhere; fetch what it leads to, or remove it", path.string());
    if (error) fail("{}: cannot be looked at: {}", path.string(), error.message());
    if (!boost::iequals(path.extension().string(), ".png"))
      refuse("{}: is not a PNG file; a folder of images holds those alone", path.string());
    if (!fs::is_regular_file(found))
      refuse("{}: is a pipe, socket or device, where a PNG file is expected; remove it", path.string());
    files_.push_back(path);
  }

  std::map<fs::path, fs::path> folders_;  ///< by the path without links, the one by which it was entered
  std::vector<fs::path> files_;
};

}  // namespace

std::unique_ptr<ImageSet> open_png_folder(const fs::path& directory) {
  std::vector<fs::path> files = FolderWalk(directory).files();
  if (files.empty())
    refuse("{}: holds no images: expected PNG files, or the {} of a data set", directory.string(), manifest_name);
  const Picture first = read_png_header(files.front());
  for (const fs::path& file : files) {
    const Picture other = read_png_header(file);
    if (other.height != first.height || other.width != first.width || other.channels != first.channels)
      refuse("{}: is of {}x{}x{} (channels, height, width), {} of {}x{}x{}: a set's images are of one size",
             file.string(), other.channels, other.height, other.width, files.front().string(), first.channels,
             first.height, first.width);
  }
  const ImageSetShape shape{static_cast<std::int64_t>(files.size()), first.channels, first.height, first.width};
  return std::make_unique<PngImages>(directory, shape, std::move(files));
}

}  // namespace couplet
