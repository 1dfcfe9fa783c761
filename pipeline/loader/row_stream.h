// Rows of a table in a shuffled order that any step can be entered at: which row stands at which position of a training
// run depends on (seed, table size, block size, window) only.
#pragma once

#include "pipeline/config/config.h"
#include "storage/tables/row_table.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace couplet {

/// The order: each epoch visits the table's blocks in a random order, `window_blocks` at a time, and the rows of a
/// window in a random order. Position p belongs to epoch p / rows; every epoch visits every row once.
class RowOrder {
public:
  RowOrder(std::int64_t rows, std::int64_t block_rows, std::int64_t window_blocks, std::uint64_t seed);
  std::int64_t rows() const { return rows_; }
  /// Row at each position of [first, first + count), across windows and epochs.
  std::vector<std::int64_t> at(std::int64_t first, std::int64_t count);

  struct Window {
    std::int64_t epoch = 0, index = 0;
    std::int64_t first_position = 0;   ///< in the training run
    std::vector<std::int64_t> blocks;  ///< table blocks, in the order drawn
    std::vector<std::int64_t> rows;    ///< row at each position of the window
  };
  /// The window that holds a position.
  Window window(std::int64_t position) const;

private:
  std::vector<std::int64_t> block_order(std::int64_t epoch) const;
  std::int64_t rows_in(const std::vector<std::int64_t>& blocks) const;

  std::int64_t rows_, block_rows_, window_blocks_;
  std::uint64_t seed_;
  Window last_;  ///< the window `at` used last
};

/// Reads windows of a table and hands out rows by position. Whole blocks are read in order of their place in the file,
/// checked, each row put straight to its place in the window's order; the next window is read on a thread meanwhile.
/// Memory: two windows of the chosen columns, and a window that was left for as long as a caller holds rows of it.
class RowStream {
public:
  RowStream(const RowTable& table, const std::vector<std::string>& columns, std::int64_t window_blocks,
            std::uint64_t seed);
  ~RowStream();
  /// Rows at positions [first, first + count) of the run: one tensor [count, shape...] a column, in the order given,
  /// then the row numbers int64 [count] last. Positions may be asked for in any order; forward is fast. The tensors may
  /// share the window's memory: nobody writes to them.
  std::vector<at::Tensor> read(std::int64_t first, std::int64_t count);
  /// Bytes of memory the two windows take.
  std::int64_t window_bytes() const;

private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// How training reads its tables: with checksums or without, from a local cache or not.
ReadOptions training_reads(const StorageConfig& config);
/// A table opened that way. The other ranks wait while this one copies shards into its host's cache.
RowTable open_for_training(const std::filesystem::path& directory, const std::string& format,
                           const StorageConfig& config);

}  // namespace couplet
