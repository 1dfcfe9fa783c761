#include "method/data/image_set.h"

#include "method/data/codec.h"
#include "method/data/dataset.h"
#include "pipeline/loader/table_rows.h"
#include "pipeline/tensor/tensor_bytes.h"
#include "storage/error.h"
#include "storage/filesystem.h"
#include "storage/formats/npz.h"
#include "storage/formats/picture.h"
#include "storage/tables/filenames.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

namespace couplet {
namespace {

constexpr std::int64_t skipped_at_once = 64;

class NpzImages : public ImageSet {
public:
  NpzImages(const fs::path& path, std::unique_ptr<ForeignFile> file, std::unique_ptr<ForeignArray> array)
      : ImageSet(path.string(), shape_of(*array)), file_(std::move(file)), array_(std::move(array)) {}

  at::Tensor read(std::int64_t first, std::int64_t count) override {
    if (first < next_) {
      array_ = file_->open("arr_0");
      next_ = 0;
    }
    while (next_ < first) read_next(std::min(skipped_at_once, first - next_));
    return read_next(count).permute({0, 3, 1, 2}).contiguous();
  }

private:
  static ImageSetShape shape_of(const ForeignArray& array) {
    const auto& sizes = array.shape();
    return {sizes[0], sizes[3], sizes[1], sizes[2]};
  }
  at::Tensor read_next(std::int64_t count) {
    at::Tensor rows = at::empty({count, shape().height, shape().width, shape().channels}, at::kByte);
    array_->read_next(count, writable_bytes(rows));
    next_ += count;
    return rows;
  }

  std::unique_ptr<ForeignFile> file_;
  std::unique_ptr<ForeignArray> array_;
  std::int64_t next_ = 0;
};

/// How many rows of floating-point numbers hold NaN or infinity, for a refusal; "" where none does, or of other
/// numbers.
std::string nonfinite_text(ForeignArray& array) {
  const NumberType type = array.type();
  if (type.kind != 'f' || array.row_bytes() == 0) return "";
  const at::ScalarType scalar = type.bytes == 2 ? at::kHalf : type.bytes == 4 ? at::kFloat : at::kDouble;
  const std::int64_t all = array.shape()[0], values = static_cast<std::int64_t>(array.row_bytes() / type.bytes);
  std::int64_t bad = 0;
  for (std::int64_t first = 0; first < all; first += skipped_at_once) {
    at::Tensor rows = at::empty({std::min(skipped_at_once, all - first), values}, scalar);
    array.read_next(rows.size(0), writable_bytes(rows));
    bad += rows.isfinite().all(1).logical_not().sum().item<std::int64_t>();
  }
  return bad == 0 ? "" : fmt::format(", {} of its {} rows with NaN or infinite values", bad, all);
}

std::unique_ptr<ImageSet> open_npz_images(const fs::path& path) {
  auto file = open_npz(path);
  const std::vector<std::string> names = file->names();
  if (std::ranges::find(names, "arr_0") == names.end())
    refuse("{}: has no array arr_0 of images; there are: {}", path.string(), fmt::join(names, ", "));
  auto array = file->open("arr_0");
  const auto& sizes = array->shape();
  if (std::ranges::find(sizes, 0) != sizes.end())
    refuse("{}: arr_0 is {}: no images", path.string(), array->description());
  if (array->type() != NumberType{'u', 1})
    refuse(
        "{}: arr_0 is {}{}; expected uint8 [N, H, W, C] with C 1 or 3. How values become 8 bits is the maker's to say: "
        "from [-1, 1], (127.5 * x + 127.5).round().clip(0, 255).astype('uint8')",
        path.string(), array->description(), nonfinite_text(*array));
  if (sizes.size() != 4 || (sizes[3] != 1 && sizes[3] != 3))
    refuse("{}: arr_0 is {}; expected [N, H, W, C] with C 1 or 3, the channels last", path.string(),
           array->description());
  return std::make_unique<NpzImages>(path, std::move(file), std::move(array));
}

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

/// Its PNG files, in order of their paths.
std::vector<fs::path> png_files(const fs::path& directory) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    if (entry.is_directory() || entry.path().filename().string().starts_with(".")) continue;
    if (entry.path().extension() != ".png")
      refuse("{}: is not a PNG file; a folder of images holds those alone", entry.path().string());
    files.push_back(entry.path());
  }
  std::ranges::sort(files);
  return files;
}

std::unique_ptr<ImageSet> open_png_folder(const fs::path& directory) {
  std::vector<fs::path> files = png_files(directory);
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

ImageSetShape shape_of(const RowTable& table, std::int64_t images) {
  const Column& column = table.columns().at(table.column("image"));
  const auto codec = codec_of(table.provenance());
  if (column.type != codec->stored_type() || column.shape.size() != 3)
    refuse("{}: its images are {} of [{}]; expected {} [C, H, W]", table.path().string(), element_name(column.type),
           fmt::join(column.shape, ", "), element_name(codec->stored_type()));
  const std::vector<std::int64_t> pixels = codec->pixel_shape(column.shape);
  return {images, pixels[0], pixels[1], pixels[2]};
}

class TableImages : public ImageSet {
public:
  explicit TableImages(std::unique_ptr<RowTable> table)
      : ImageSet(table->path().string(), shape_of(*table, table->rows())),
        table_(std::move(table)),
        codec_(codec_of(table_->provenance())) {}
  at::Tensor read(std::int64_t first, std::int64_t count) override {
    return codec_->pixels(read_rows(*table_, "image", first, count));
  }

private:
  std::unique_ptr<RowTable> table_;
  std::shared_ptr<const Codec> codec_;
};

class SpreadImages : public ImageSet {
public:
  SpreadImages(const RowTable& table, std::int64_t images)
      : ImageSet(table.path().string(), shape_of(table, images)), table_(table), codec_(codec_of(table.provenance())) {}
  at::Tensor read(std::int64_t first, std::int64_t count) override {
    std::vector<at::Tensor> rows;
    for (std::int64_t i = first; i < first + count; ++i)
      rows.push_back(read_rows(table_, "image", i * table_.rows() / shape().images, 1));
    return codec_->pixels(at::cat(rows));
  }

private:
  const RowTable& table_;
  std::shared_ptr<const Codec> codec_;
};

}  // namespace

std::string ImageSetShape::image_text() const {
  return fmt::format("{} x {} x {}", channels, height, width);
}

std::string ImageSet::description() const {
  return fmt::format("{}: {} images of {}x{}x{}", name_, shape_.images, shape_.channels, shape_.height, shape_.width);
}

std::unique_ptr<ImageSet> open_image_set(const std::filesystem::path& path) {
  if (!fs::exists(path)) refuse("{}: does not exist; expected an .npz file or a directory of images", path.string());
  if (!fs::is_directory(path)) {
    if (path.extension() != ".npz")
      refuse("{}: is no set of images: expected an .npz file, a folder of PNG files or a data set's directory",
             path.string());
    return open_npz_images(path);
  }
  if (!fs::exists(path / manifest_name)) return open_png_folder(path);
  auto table = std::make_unique<RowTable>(path, dataset_format);
  if (table->rows() == 0) refuse("{}: holds no images", path.string());
  return std::make_unique<TableImages>(std::move(table));
}

std::unique_ptr<ImageSet> spread_images(const RowTable& table, std::int64_t images) {
  if (images < 1 || images > table.rows())
    fail("{} of the {} images of {}", images, table.rows(), table.path().string());
  return std::make_unique<SpreadImages>(table, images);
}

}  // namespace couplet
