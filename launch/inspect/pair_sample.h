// Some pairs of a coupling table, by which the coupling is judged.
#pragma once

#include "launch/inspect/row_source.h"
#include "method/statistics/normality.h"

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <vector>

namespace couplet {

/// Keeps the pairs of evenly spread rows (RowSample) while all rows are read: as many as a coupling is judged by.
class PairSample {
public:
  /// There are pairs to judge: noise, images and labels.
  static bool apply_to(const RowSource& source);

  explicit PairSample(const RowSource& source);
  /// The next rows of the columns noise, image and label.
  void add(std::span<const std::byte> noise, std::span<const std::byte> image, std::span<const std::byte> label);
  /// Judges the pairs (method/statistics/coupling_quality.h) with z = noise / `scale`.
  nlohmann::ordered_json judge(double scale) const;

private:
  ElementType noise_type_, image_type_;
  std::size_t values_;
  RowSample sample_;
  std::int64_t row_ = 0, next_ = 0;  ///< the next row to come, the next one of the sample
  std::vector<float> noise_, image_;
  std::vector<std::int64_t> label_;
};

/// Prints what `judge` says on stdout, for people.
void print_quality(const nlohmann::ordered_json& quality);

}  // namespace couplet
