// A data set of images, as models see it.
#pragma once

#include "method/data/codec.h"
#include "method/data/condition.h"
#include "method/data/low_resolution.h"
#include "storage/tables/row_table.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace couplet {

/// The format of a table that holds a data set (docs/row-shards.md).
inline constexpr char dataset_format[] = "couplet-dataset";

/// What every stage needs to know of a data set, from the provenance and summary of its table.
struct DatasetShape {
  std::int64_t channels = 0, size = 0;     ///< images are [channels, size, size]
  std::int64_t classes = 0;                ///< 0: they have no labels (stored as label 0)
  std::vector<std::int64_t> class_counts;  ///< rows of each label: one entry where there are no classes
  std::shared_ptr<const Codec> codec = pixel_codec();
  LowResolution low_resolution = {};  ///< what students are given of an image besides its label

  /// There is something to tell apart: classes are learnt, asked for and scored.
  bool has_classes() const { return classes >= 2; }
  /// The labels that a model knows, one at least.
  std::int64_t labels() const { return std::max<std::int64_t>(classes, 1); }
  /// [C, H, W] of its pixels.
  std::vector<std::int64_t> pixel_shape() const { return codec->pixel_shape({channels, size, size}); }
  /// What a student is asked for images, float32 [n, C, H, W] as models see them, of these labels: with their low
  /// resolution, where students are given one. On the CPU.
  Condition condition(const at::Tensor& images, const at::Tensor& labels) const;
  /// The same of the low resolution itself, uint8 [n, C, H / factor, W / factor].
  Condition condition_of_low(const at::Tensor& low_pixels, const at::Tensor& labels) const;
};
/// How its images became square, "adm" or "squeeze, by box" (method/data/crop.h); "": the data set does not say, as
/// none did that was not made of image files.
std::string crop_of(const nlohmann::json& provenance);
/// Refuses images that are not square.
DatasetShape dataset_shape(const RowTable& table);

}  // namespace couplet
