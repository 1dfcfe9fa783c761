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
};

class ImageSet {
public:
  virtual ~ImageSet() = default;
  ImageSet(const ImageSet&) = delete;
  ImageSet& operator=(const ImageSet&) = delete;

  const ImageSetShape& shape() const { return shape_; }
  /// "images.npz: 5000 images of 3x64x64"
  std::string description() const;
  /// Images [first, first + count): uint8 [count, C, H, W]. Those in order of an .npz file are cheap; going back reads
  /// it from its start.
  virtual at::Tensor read(std::int64_t first, std::int64_t count) = 0;

protected:
  ImageSet(std::string name, const ImageSetShape& shape) : name_(std::move(name)), shape_(shape) {}

private:
  std::string name_;
  ImageSetShape shape_;
};

/// Opens
///  - an .npz file with the array arr_0 [N, H, W, C], uint8, C 1 or 3, as ADM's evaluations have it;
///  - a directory of PNG files, in the order of their paths, subdirectories among them, all of one size and either grey
///    or colour;
///  - a directory of data-set shards (RUN/prepare/train).
/// Refuses what is none of these, what has no images, and other files among the PNG files.
std::unique_ptr<ImageSet> open_image_set(const std::filesystem::path& path);

/// `images` rows of a data set, evenly spread over it. The table outlives the set.
std::unique_ptr<ImageSet> spread_images(const RowTable& table, std::int64_t images);

}  // namespace couplet
