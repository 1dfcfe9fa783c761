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

/// Writes a shard to `path`, a temporary name to be published with Pending. No times are stored: equal rows give equal
/// bytes.
class RowShardWriter {
public:
  RowShardWriter(const std::filesystem::path& path, ShardHeader header, std::vector<Column> columns);
  ~RowShardWriter();
  /// Writes whole rows of a column from row `first` of the shard on, counted from its own start. Each column's rows are
  /// written in order, without holes.
  void write(std::size_t column, std::int64_t first, std::span<const std::byte> bytes);
  /// Stores the checksums and `summary` (sums and counts over the shard, as the JSON attribute "summary") and closes
  /// the file. Fails if a row of any column was not written.
  void finish(const nlohmann::json& summary);

private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace couplet
