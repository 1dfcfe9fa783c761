#include "method/data/image_set.h"

#include "method/data/array_images.h"
#include "method/data/codec.h"
#include "method/data/dataset.h"
#include "method/data/png_folder.h"
#include "pipeline/loader/table_rows.h"
#include "pipeline/tensor/tensor_bytes.h"
#include "storage/error.h"
#include "storage/filesystem.h"
#include "storage/formats/npz.h"
#include "storage/tables/filenames.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>
#include <boost/algorithm/string/predicate.hpp>

#include <algorithm>
#include <system_error>
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
  const at::ScalarType scalar = tensor_type(type);
  const std::int64_t all = array.rows(), values = static_cast<std::int64_t>(array.row_bytes() / type.bytes);
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

ImageSetShape shape_of(const RowTable& table, std::int64_t images) {
  const Column& column = table.columns().at(table.column("image"));
  const auto codec = codec_of(table);
  if (column.type != codec->stored_type() || column.shape.size() != 3)
    refuse("{}: its images are {} of [{}]; expected {} [C, H, W]", table.path().string(), element_name(column.type),
           fmt::join(column.shape, ", "), element_name(codec->stored_type()));
  const std::vector<std::int64_t> pixels = codec->pixel_shape(codec->seen_shape(column.shape));
  return {images, pixels[0], pixels[1], pixels[2]};
}

class TableImages : public ImageSet {
public:
  explicit TableImages(std::unique_ptr<RowTable> table)
      : ImageSet(table->path().string(), shape_of(*table, table->rows())),
        table_(std::move(table)),
        codec_(codec_of(*table_)) {}
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
      : ImageSet(table.path().string(), shape_of(table, images)), table_(table), codec_(codec_of(table)) {}
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

bool has_manifest(const fs::path& directory) {
  std::error_code error;
  const bool there = fs::exists(directory / manifest_name, error);
  if (error) fail("{}: the folder cannot be read: {}", directory.string(), error.message());
  return there;
}

/// The shape of a set that has images to work with.
const ImageSetShape& usable(const std::string& name, const ImageSetShape& shape) {
  if (shape.images < 1) refuse("{}: holds no images", name);
  if (shape.channels < 1 || shape.height < 1 || shape.width < 1)
    refuse("{}: its images have no pixels: they are of {} (channels, height, width)", name, shape.image_text());
  if (std::max(shape.height, shape.width) > largest_image_side)
    refuse("{}: its images are of {} (channels, height, width); a side has at most {} pixels", name, shape.image_text(),
           largest_image_side);
  return shape;
}

}  // namespace

ImageSet::ImageSet(std::string name, const ImageSetShape& shape)
    : name_(std::move(name)), shape_(usable(name_, shape)) {}

std::string ImageSetShape::image_text() const {
  return fmt::format("{} x {} x {}", channels, height, width);
}

std::string ImageSet::description() const {
  return fmt::format("{}: {} images of {}x{}x{}", name_, shape_.images, shape_.channels, shape_.height, shape_.width);
}

std::unique_ptr<ImageSet> open_image_set(const std::filesystem::path& path) {
  std::error_code error;
  const fs::file_status found = fs::status(path, error);
  if (found.type() == fs::file_type::not_found)
    refuse("{}: does not exist; expected an .npz file or a directory of images", path.string());
  if (fs::is_directory(found)) {
    if (!has_manifest(path)) return open_png_folder(path);
    return std::make_unique<TableImages>(std::make_unique<RowTable>(path, dataset_format, ReadOptions::foreign()));
  }
  if (error) fail("{}: cannot be looked at: {}", path.string(), error.message());
  if (!fs::is_regular_file(found) || !boost::iequals(path.extension().string(), ".npz"))
    refuse("{}: is no set of images: expected an .npz file, a folder of PNG files or a data set's directory",
           path.string());
  return open_npz_images(path);
}

std::unique_ptr<ImageSet> spread_images(const RowTable& table, std::int64_t images) {
  if (images < 1 || images > table.rows())
    fail("{} of the {} images of {}", images, table.rows(), table.path().string());
  return std::make_unique<SpreadImages>(table, images);
}

}  // namespace couplet
