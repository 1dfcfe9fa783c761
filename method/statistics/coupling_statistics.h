// Figures over the rows of a coupling table, added up as they are read: how normal its noise is, how far it is from its
// images. Memory is bounded whatever the table's size.
#pragma once

#include "method/statistics/central_moments.h"
#include "method/statistics/normality.h"
#include "storage/tables/row_shard_layout.h"

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <vector>

namespace couplet {

/// A column's bytes as float (float16, float32, float64, uint8); other types are an error.
void to_floats(ElementType type, std::span<const std::byte> bytes, std::vector<float>& out);

/// Pearson correlation of pairs of values, pooled.
class PairCorrelation {
public:
  void add(std::span<const float> a, std::span<const float> b);
  double value() const;  ///< NaN without pairs

private:
  std::int64_t pairs_ = 0;
  double a_ = 0, b_ = 0, aa_ = 0, bb_ = 0, ab_ = 0;
};

/// Figures over noise f and images of all rows, in their order. Rows with a value that is not finite are counted and
/// left out. It holds at most 2^20 values for the test of single values (or one row), 4096 x 64 values and 64
/// directions for the test of projections.
class CouplingStatistics {
public:
  static constexpr std::int64_t projections = 64;         ///< random unit directions of whole rows
  static constexpr std::int64_t projected_rows = 4096;    ///< at most
  static constexpr std::int64_t tested_values = 1 << 20;  ///< at most, whole rows

  /// There is something to add up: noise [C, H, W] of a float type, and image of the same shape: uint8, or floats as
  /// models see them.
  static bool apply_to(const std::vector<Column>& columns);

  /// The columns are those of a table or shard of `rows` rows.
  CouplingStatistics(const std::vector<Column>& columns, std::int64_t rows);
  /// The next rows of the columns noise and image.
  void add(std::span<const std::byte> noise, std::span<const std::byte> image);

  /// √ mean f².
  double sigma_f() const;
  /// z = f / `scale`: the manifest's sigma_f, or that of these rows where there is none.
  nlohmann::ordered_json to_json(std::optional<double> manifest_sigma) const;

private:
  /// A row's noise, and its image as models see it.
  void add_row(std::int64_t row, std::span<const float> noise, std::span<const double> image);
  void add_neighbours(std::span<const float> noise);
  void add_cost(std::span<const float> noise, std::span<const double> image);
  void sample(std::int64_t row, std::span<const float> noise);
  nlohmann::ordered_json normality(double scale) const;

  ElementType noise_type_, image_type_;
  std::int64_t channels_, height_, width_;
  std::int64_t rows_ = 0, nonfinite_rows_ = 0;
  std::vector<CentralMoments> moments_;  ///< a channel
  PairCorrelation horizontal_, vertical_;
  double noise_squares_ = 0, image_squares_ = 0, products_ = 0;  ///< Σ f², Σ x², Σ f x
  RowSample tested_, projected_;
  std::int64_t next_tested_ = 0, next_projected_ = 0;
  std::vector<float> values_;
  std::vector<float> directions_;                ///< [projections, values a row], each of norm 1
  std::vector<std::vector<float>> projections_;  ///< ⟨direction, f⟩ of each direction's rows
  std::vector<float> row_;
  std::vector<double> image_;
};

}  // namespace couplet
