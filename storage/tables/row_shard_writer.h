// Writes one row shard (storage/tables/row_shard.h).
#pragma once

#include "storage/tables/row_shard_layout.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <vector>

namespace couplet {

/// Writes a shard under `path` (a temporary name: publish it with Pending). Equal rows give equal bytes: no times
/// stored.
class RowShardWriter {
public:
  RowShardWriter(const std::filesystem::path& path, ShardHeader header, std::vector<Column> columns);
  ~RowShardWriter();
  /// Rows [first, first + rows) of the shard (counted from its own start), whole rows of column `column`.
  /// Each column's rows are written in order, without holes.
  void write(std::size_t column, std::int64_t first, std::span<const std::byte> bytes);
  /// Stores the checksums and `summary` (per-shard sums and counts; attribute "summary", JSON) and closes the file.
  /// Fails if a row of any column was not written.
  void finish(const nlohmann::json& summary);

private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace couplet
