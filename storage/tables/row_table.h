// A directory of row shards with a manifest: data sets and coupling tables. The manifest is published last, so a
// directory without one is a table that is not finished.
#pragma once

#include "storage/tables/listed_shards.h"
#include "storage/tables/row_shard.h"
#include "storage/tables/table_manifest.h"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace couplet {

/// A finished table open for reading by global row number. The constructor opens the first shard only; every other one
/// is opened, after it was copied if a cache lacks it, and compared with the manifest when it is first read.
class RowTable {
public:
  /// Refuses, naming both sides, a table without a manifest, of another format or a newer version. Shards that are
  /// missing or of another provenance are refused so when they are read.
  RowTable(const std::filesystem::path& directory, const std::string& expected_format, const ReadOptions& options = {});

  const std::filesystem::path& path() const { return directory_; }
  const nlohmann::json& manifest() const { return manifest_; }
  const nlohmann::json& provenance() const { return manifest_.at("provenance"); }
  const nlohmann::json& summary() const { return manifest_.at("summary"); }
  std::int64_t rows() const { return plan_.rows; }
  std::int64_t block_rows() const { return block_rows_; }
  const ShardPlan& plan() const { return plan_; }
  const std::vector<Column>& columns() const { return first_->columns(); }
  std::size_t column(const std::string& name) const { return first_->column(name); }
  /// Opens a shard, which stays open while the caller holds it.
  std::shared_ptr<const RowShard> shard(std::int64_t index) const { return shards_->open(index); }
  /// Looks whether all shards are there, in the size that the manifest lists, and fails with the first that is not. At
  /// scale one rank does that for all.
  void require_shards() const;
  /// The content hash of the table, which is that of its shards' hashes in order.
  std::string content_hash() const;

  /// Reads rows [first, first + count) by global number, across shards.
  void read(std::size_t column, std::int64_t first, std::int64_t count, std::span<std::byte> out) const;

  /// The same for rows of these numbers, which ascend: row numbers[i] goes to places[i].
  void gather(std::size_t column, std::span<const std::int64_t> numbers, std::span<std::byte* const> places) const;

private:
  void check_range(std::size_t column, std::int64_t first, std::int64_t count) const;

  std::filesystem::path directory_;
  nlohmann::json manifest_;
  ShardPlan plan_;
  std::int64_t block_rows_ = 0;
  std::unique_ptr<ListedShards> shards_;
  std::shared_ptr<const RowShard> first_;
};

}  // namespace couplet
