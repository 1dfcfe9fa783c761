// Images made by anybody, read in order: an .npz file, a folder of PNG files, a data set of ours.
#pragma once

#include "storage/tables/row_table.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

namespace couplet {

struct ImageSetShape {
  std::int64_t images = 0, channels = 0, height = 0, width = 0;

  /// "1 x 28 x 28": of one image.
  std::string image_text() const;
};

/// Pixels of an image's side. A few bytes of a file can claim far more, for which memory would be taken.
constexpr std::int64_t largest_image_side = 8192;

class ImageSet {
public:
  virtual ~ImageSet() = default;
  ImageSet(const ImageSet&) = delete;
  ImageSet& operator=(const ImageSet&) = delete;

  const ImageSetShape& shape() const { return shape_; }
  /// What messages call the set: "images.npz".
  const std::string& name() const { return name_; }
  /// "images.npz: 5000 images of 3x64x64"
  std::string description() const;
  /// Images [first, first + count): [count, C, H, W] on the CPU, uint8 unless a source says otherwise. Those in order
  /// are cheap; going back may read a packed file from its start.
  virtual at::Tensor read(std::int64_t first, std::int64_t count) = 0;

protected:
  /// Refuses, by the set's name, a set without images, images without pixels, and sides above largest_image_side.
  ImageSet(std::string name, const ImageSetShape& shape);

private:
  std::string name_;
  ImageSetShape shape_;
};

/// Opens
///  - an .npz file with the array arr_0 [N, H, W, C], uint8, C 1 or 3, as ADM's evaluations have it;
///  - a directory of PNG files, as png_folder.h says;
///  - a directory of data-set shards (RUN/prepare/train).
/// Refuses what is none of these, what has no images, and other files among the PNG files. A path that cannot be looked
/// at is an error.
std::unique_ptr<ImageSet> open_image_set(const std::filesystem::path& path);

/// `images` rows of a data set, evenly spread over it. The table outlives the set.
std::unique_ptr<ImageSet> spread_images(const RowTable& table, std::int64_t images);

}  // namespace couplet
