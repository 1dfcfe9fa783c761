// The shuffled order in which a training run visits the rows of a table. Training can enter it at any step: which row
// stands at which position of the run depends on (seed, table size, block size, window) only.
#pragma once

#include <cstdint>
#include <vector>

namespace couplet {

/// Each epoch visits the table's blocks in a random order, `window_blocks` at a time, and the rows of such a window in
/// a random order. Position p belongs to epoch p / rows; every epoch visits every row once.
class RowOrder {
public:
  RowOrder(std::int64_t rows, std::int64_t block_rows, std::int64_t window_blocks, std::uint64_t seed);
  std::int64_t rows() const { return rows_; }
  /// Returns the row at each position of [first, first + count), across windows and epochs.
  std::vector<std::int64_t> at(std::int64_t first, std::int64_t count);

  struct Window {
    std::int64_t epoch = 0, index = 0;
    std::int64_t first_position = 0;   ///< in the training run
    std::vector<std::int64_t> blocks;  ///< blocks of the table, in the order in which they were drawn
    std::vector<std::int64_t> rows;    ///< the row at each position of the window

    bool holds(std::int64_t position) const;
  };
  /// Returns the window that holds a position.
  Window window(std::int64_t position);

private:
  /// An epoch's blocks in the order in which they are visited.
  struct Epoch {
    std::int64_t number = -1;
    std::vector<std::int64_t> blocks;
    std::int64_t short_window = 0;  ///< the one with the table's last block, which may be short
  };
  const Epoch& epoch(std::int64_t number);
  std::int64_t rows_in(const std::vector<std::int64_t>& blocks) const;

  std::int64_t rows_, block_rows_, window_blocks_;
  std::uint64_t seed_;
  Epoch epoch_;  ///< the one that was drawn last
  Window last_;  ///< the window that `at` used last
};

}  // namespace couplet
