// Noise and images of others, on the way into a coupling table.
#pragma once

#include "storage/formats/element_type.h"
#include "storage/formats/foreign_array.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace couplet {

/// The rows of an array [N, C, S, S], or [N, S, S, C] where only that can be meant: C is 1 or 3, and less than S. They
/// come with their channels first.
class SquareRows {
public:
  /// `what` names file and array in messages. Other shapes, and elements that are neither floats nor uint8, are
  /// refused.
  SquareRows(std::string what, std::unique_ptr<ForeignArray> array);

  const std::string& what() const { return what_; }
  /// "float32 [100, 1, 28, 28]", as the source has it.
  std::string description() const { return array_->description(); }
  std::int64_t rows() const { return array_->rows(); }
  std::int64_t channels() const { return array_->shape()[channels_last_ ? 3 : 1]; }
  std::int64_t size() const { return array_->shape()[2]; }
  std::int64_t row_values() const { return channels() * size() * size(); }
  bool is_floating() const { return array_->type().kind == 'f'; }
  /// As `next` gives them: float64 becomes float32.
  ElementType type() const;
  /// What is converted, a line each.
  std::vector<std::string> notes() const;

  std::vector<std::byte> next(std::int64_t count);

private:
  std::string what_;
  std::unique_ptr<ForeignArray> array_;
  bool channels_last_ = false;
};

/// The noise of a source: floats, all of them finite.
class ImportedNoise : public SquareRows {
public:
  ImportedNoise(const std::string& what, std::unique_ptr<ForeignArray> array);
  std::vector<std::byte> next(std::int64_t count);

private:
  std::int64_t row_ = 0;  ///< the next one
};

/// The images of a source. uint8 are grey values. Floats are grey values, too, where the first 16 MiB of rows hold
/// nothing but whole numbers from 0 to 255 and one of at least 2 among them: then all must be such, and become uint8.
/// Else they are images as models see them, on [-1, 1] or thereabouts, and stay floats: values that are not finite or
/// beyond ±100 are errors that name the row, and images without a value below 0 are refused, since they lie on [0, 1].
class ImportedImages {
public:
  ImportedImages(const std::string& what, std::unique_ptr<ForeignArray> array);

  const SquareRows& rows() const { return rows_; }
  /// uint8: grey values; a float type: as models see them.
  ElementType type() const { return are_grey_ ? ElementType::uint8 : rows_.type(); }
  std::vector<std::string> notes() const;
  /// The next `count` rows of `type`.
  std::vector<std::byte> next(std::int64_t count);

private:
  std::vector<std::byte> take(std::int64_t count);

  SquareRows rows_;
  bool are_grey_ = true;
  std::vector<std::byte> first_;  ///< rows that were read to see what they are, and not taken yet
  std::int64_t row_ = 0;          ///< the next one
};

}  // namespace couplet
