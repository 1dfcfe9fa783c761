// Held-out rows of a data set that comes as one split: a seeded share of each class.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace couplet {

struct HeldOutOptions {
  double share = 0.1;      ///< prepare.held-out: of the rows of each class; above 0 and below 1
  std::uint64_t seed = 0;  ///< prepare.held-out-seed

  /// "0.1 of each class, seed 0": what decides a split besides the labels. It belongs into content hashes.
  std::string text() const;
};

/// The rows of the two splits, ascending.
struct HeldOutSplit {
  std::vector<std::int64_t> train, test;
};

/// Draws the held-out rows. Of a class of n rows they are share · n, rounded to the nearest (halves up), but one row
/// always stays in training. Which of its rows they are is a function of the seed, the class and n alone: other classes
/// may grow or go. `labels` has a class from 0 for each row; empty: the images have none, and are drawn as one class.
/// `what` names the data set in messages. Refuses a share out of range, and one that holds out no row.
HeldOutSplit hold_out(const std::string& what, std::int64_t rows, std::span<const std::int32_t> labels,
                      const HeldOutOptions& options);

}  // namespace couplet
