// Images that lie as arrays in files of others.
#pragma once

#include "method/data/image_source.h"
#include "storage/formats/array_rows.h"

#include <c10/core/ScalarType.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace couplet {

/// The type of a tensor of an array's floats, of 2, 4 or 8 bytes.
at::ScalarType tensor_type(const NumberType& floats);

/// Opens a file or folder of arrays. `scratch`: where packed arrays are unpacked to; empty: TMPDIR.
std::shared_ptr<ArrayFile> open_array_file(const std::filesystem::path& path, const std::filesystem::path& scratch);

/// What the rows of an array of images are.
struct ArrayPixels {
  std::int64_t channels = 0, height = 0, width = 0;
  bool channels_last = false;
  /// What numbers become 0 and 255: pixels themselves (uint8), or floats of [lowest, 1].
  bool are_bytes = true;
  double lowest = 0;

  /// "NHWC, bytes": as options name it.
  std::string text() const;
};

/// The rows of an array as the options say, or as its shape and type do: [N, H, W], [N, H, W, C] or [N, C, H, W] with C
/// 1 or 3. Refuses other shapes and types, shapes that could be both of the latter, and floats that no option explains,
/// with the range that is found. It looks at the first rows of floats for that.
ArrayPixels array_pixels(ArrayRows& array, const ArrayOptions& options);

/// The classes of as many images, from an array [N] or [N, 1] of integers. Class 0 is the number `first`, and
/// `most_classes` there may be at most. Refuses other types, lengths and numbers; `images` says in messages whose they
/// are.
std::vector<std::int32_t> array_labels(ArrayRows& array, const ArrayRows& images, std::int64_t first = 0,
                                       std::int64_t most_classes = std::int64_t{1} << 31);

/// The arrays of one split.
struct ImageArrays {
  std::string name;                                ///< in messages
  std::vector<std::shared_ptr<ArrayRows>> arrays;  ///< one after the other, whose rows are alike
  ArrayPixels pixels;
  std::vector<std::int32_t> labels;          ///< empty: there are none
  std::vector<std::filesystem::path> files;  ///< of images and labels
  std::string meaning;                       ///< what besides the bytes decides, such as the names of arrays
};

/// Images of arrays, in any order at no more cost than that of `ArrayRows`.
class ArrayImages : public SourceImages {
public:
  explicit ArrayImages(ImageArrays arrays);

  at::Tensor read(std::int64_t first, std::int64_t count) override;
  std::int64_t label(std::int64_t image) const override;
  /// "row 17 of x.npz: array 'x_train'"
  std::string image_name(std::int64_t image) const override;
  /// Reads all rows: damaged ones, and floats out of their range, are errors.
  std::string content_hash() const override;

private:
  struct Place {
    std::size_t array = 0;
    std::int64_t row = 0;
  };
  Place place_of(std::int64_t image) const;

  ImageArrays arrays_;
  std::vector<std::int64_t> ends_;  ///< of each array: the first image behind it
};

}  // namespace couplet
