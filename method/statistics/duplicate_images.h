// Images that stand more than once in a data set: held-out ones that were trained on say little.
#pragma once

#include "storage/files/hash.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace couplet {

/// What tells the images of a split apart, in the order of their rows: the 128-bit hash of the bytes of each, 16 bytes
/// a row (160 MB for 10 million rows). That two images of 10 million share one by chance has a probability of 1e-25.
class ImageHashes {
public:
  /// The next row's pixels.
  void add(std::span<const std::byte> image) { hashes_.push_back(hash128(image)); }

  std::int64_t rows() const { return static_cast<std::int64_t>(hashes_.size()); }
  const std::vector<Hash128>& hashes() const { return hashes_; }
  /// How many rows have the pixels of an earlier one. The hashes are then in the order of their values.
  std::int64_t sort_and_count_repeated();

private:
  std::vector<Hash128> hashes_;
};

/// Rows of equal pixels.
struct DuplicateImages {
  std::int64_t repeated_in_training = 0;  ///< rows that have the pixels of an earlier row of their split
  std::int64_t repeated_in_held_out = 0;
  std::int64_t held_out_in_training = 0;  ///< held-out rows whose pixels a training row has
  /// (training row, held-out row), by training row; each training row once, at most as many as were asked for.
  std::vector<std::pair<std::int64_t, std::int64_t>> examples;
};

/// Compares all rows of two splits. Besides the hashes, it takes 24 bytes a held-out row.
DuplicateImages find_duplicates(ImageHashes training, ImageHashes held_out, std::size_t most_examples = 10);

}  // namespace couplet
