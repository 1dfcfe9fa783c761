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

/// Reads windows of rows and hands the rows out by position. Whole blocks are read in the order of their place in the
/// file and checked, and each row goes straight to its place in the window; a thread reads the next window meanwhile.
/// In memory are two windows of the chosen columns, and a window that was left for as long as a caller holds rows of
/// it.
class RowStream {
public:
  RowStream(std::shared_ptr<const StoredRows> rows, const std::vector<std::string>& columns, std::int64_t window_blocks,
            std::uint64_t seed);
  /// Streams the rows of a table that stays open.
  RowStream(const RowTable& table, const std::vector<std::string>& columns, std::int64_t window_blocks,
            std::uint64_t seed);
  ~RowStream();
  /// Returns the rows at positions [first, first + count) of the run: one tensor [count, shape...] a column, in the
  /// order given, and last the row numbers, int64 [count]. Positions may be asked for in any order; forward is fast.
  /// The tensors may share the window's memory, so nobody writes to them.
  std::vector<at::Tensor> read(std::int64_t first, std::int64_t count);
  /// The bytes of memory that the windows take.
  std::int64_t window_bytes() const;

private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// How training reads its tables: with checksums or without, from a local cache or not.
ReadOptions training_reads(const StorageConfig& config);
/// Opens a table that way. The other ranks wait while this one copies shards into its host's cache.
RowTable open_for_training(const std::filesystem::path& directory, const std::string& format, const ReadOptions& reads);

}  // namespace couplet
