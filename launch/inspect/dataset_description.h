// A data set of pixels, as `couplet inspect` shows it besides its columns.
#pragma once

#include "launch/inspect/row_source.h"
#include "method/statistics/duplicate_images.h"
#include "method/statistics/image_statistics.h"

#include <nlohmann/json.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>

namespace couplet {

/// Rows of each class, mean and deviation of each channel, and rows of equal pixels, in the split and in the one beside
/// it: train beside test. It keeps 16 bytes a row.
class DatasetDescription {
public:
  /// Tells whether the rows are those of a data set whose images are 8-bit pixels.
  static bool applies_to(const RowSource& source);
  explicit DatasetDescription(const RowSource& source);

  /// The next rows' columns `image` and `label`.
  void add(std::span<const std::byte> images, std::span<const std::byte> labels);
  /// When all rows were added. Reads the images of the split beside this one, if there is one.
  nlohmann::ordered_json to_json();

private:
  const RowSource& source_;
  std::int64_t pixels_, image_bytes_;
  ChannelStatistics channels_;
  ImageHashes hashes_;
  std::map<std::int32_t, std::int64_t> classes_;
};

/// Prints what to_json gave, for people.
void print_dataset(const nlohmann::ordered_json& dataset);

}  // namespace couplet
