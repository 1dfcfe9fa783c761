// A directory of row shards with a manifest: data sets and coupling tables. The manifest is published last, so a
// directory without one is a table that is not finished.
#pragma once

#include "storage/tables/row_shard.h"
#include "storage/tables/table_manifest.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace couplet {

/// How a table is read.
struct ReadOptions {
  bool verify = true;  ///< the checksum of every block that rows are read from is compared
  std::filesystem::path
      cache_dir;                  ///< shards are copied here before they are read; empty: they are read where they lie
  std::uint64_t cache_bytes = 0;  ///< bytes that the copies may take
  std::function<void(const std::string&)> note = [](const std::string&) {
  };                        ///< is called with what a user should know, a line
  bool is_foreign = false;  ///< the table may be anybody's: a child process opens each shard first

  static ReadOptions foreign() {
    ReadOptions options;
    options.is_foreign = true;
    return options;
  }
};

/// A finished table open for reading by global row number. The constructor opens and checks all shards; with a cache,
/// it first copies those that are not in it yet.
class RowTable {
public:
  /// Refuses, naming both sides, a table without a manifest, of another format or a newer version, and shards that are
  /// missing or of another provenance.
  RowTable(const std::filesystem::path& directory, const std::string& expected_format, const ReadOptions& options = {});

  const std::filesystem::path& path() const { return directory_; }
  const nlohmann::json& manifest() const { return manifest_; }
  const nlohmann::json& provenance() const { return manifest_.at("provenance"); }
  const nlohmann::json& summary() const { return manifest_.at("summary"); }
  std::int64_t rows() const { return plan_.rows; }
  std::int64_t block_rows() const { return block_rows_; }
  const ShardPlan& plan() const { return plan_; }
  const std::vector<Column>& columns() const { return shards_.front().columns(); }
  std::size_t column(const std::string& name) const { return shards_.front().column(name); }
  const RowShard& shard(std::int64_t index) const { return shards_.at(static_cast<std::size_t>(index)); }
  /// The content hash of the table, which is that of its shards' hashes in order.
  std::string content_hash() const;

  /// Reads rows [first, first + count) by global number, across shards.
  void read(std::size_t column, std::int64_t first, std::int64_t count, std::span<std::byte> out) const;

  /// The same, but each row goes to a place of its own: row first + i to rows[i].
  void scatter(std::size_t column, std::int64_t first, std::span<std::byte* const> rows) const;

private:
  void check_range(std::size_t column, std::int64_t first, std::int64_t count) const;
  /// Calls work(shard, its first row, rows done before, rows) for each shard's part of rows [first, first + count).
  template <class Work>
  void for_each_shard(std::int64_t first, std::int64_t count, Work work) const;

  std::filesystem::path directory_;
  nlohmann::json manifest_;
  ShardPlan plan_;
  std::int64_t block_rows_ = 0;
  std::vector<RowShard> shards_;
};

}  // namespace couplet
