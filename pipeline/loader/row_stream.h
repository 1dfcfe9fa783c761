// Stored rows in the order of pipeline/loader/row_order.h, read ahead of the step that asks for them.
#pragma once

#include "pipeline/config/config.h"
#include "pipeline/loader/stored_rows.h"
#include "storage/tables/row_table.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace couplet {

/// Reads rows ahead, in pieces, and hands them out by position. A piece is what the caller will ask for in a window, or
/// in the windows that one call needs; a thread reads the next piece meanwhile. Rows are read in the order of their
/// place in the file and checked, and each goes straight to its place in the piece. Rows that only other ranks use are
/// not read. In memory are two pieces of the chosen columns, and one that was left for as long as a caller holds rows
/// of it. A table that is one window is read whole, once.
class RowStream {
public:
  RowStream(std::shared_ptr<const StoredRows> rows, const std::vector<std::string>& columns, std::int64_t window_blocks,
            std::uint64_t seed);
  /// Streams the rows of a table that stays open.
  RowStream(const RowTable& table, const std::vector<std::string>& columns, std::int64_t window_blocks,
            std::uint64_t seed);
  ~RowStream();
  /// Returns the rows at positions [first, first + count) of the run: one tensor [count, shape...] a column, in the
  /// order given, and last the row numbers, int64 [count]. The caller will ask for as many rows `stride` positions
  /// behind these next, and so on; 0: right behind these. Any other call is answered too, but was not read ahead.
  /// The tensors may share the stream's memory, so nobody writes to them.
  std::vector<at::Tensor> read(std::int64_t first, std::int64_t count, std::int64_t stride = 0);

private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// How training reads its tables: with checksums or without, from a local cache or not.
ReadOptions training_reads(const StorageConfig& config);
/// Opens a table that way. The other ranks wait while this one copies shards into its host's cache.
RowTable open_for_training(const std::filesystem::path& directory, const std::string& format, const ReadOptions& reads);

}  // namespace couplet
