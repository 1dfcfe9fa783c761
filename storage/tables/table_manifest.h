// The manifest.json of a table, which is written last and checked by every reader. docs/row-shards.md specifies it.
#pragma once

#include "storage/tables/row_shard_layout.h"

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace couplet {

/// The rows of each shard: `rows` are split into shards of `shard_rows`, of which the last may be shorter, whatever the
/// number of ranks.
struct ShardPlan {
  std::int64_t rows = 0;
  std::int64_t shard_rows = 0;

  std::int64_t shards() const { return rows / shard_rows + (rows % shard_rows != 0); }
  std::int64_t first_row(std::int64_t shard) const { return shard * shard_rows; }
  std::int64_t rows_of(std::int64_t shard) const;
};

/// Says in what a shard's facts differ from the expected ones: "teacher.hash is "a", expected "b"; ..."; "" if they are
/// equal.
std::string facts_difference(const nlohmann::json& found, const nlohmann::json& expected);
/// What is the same in all shards of a table, and the place of this one.
nlohmann::json shard_facts(const ShardHeader& header, const std::vector<Column>& columns);

/// Returns true if `directory` holds a whole shard `index` under its final name with this header (rows, provenance) and
/// these columns; else false, with the reason in `why` ("missing", "made from another teacher: ...", "truncated").
bool shard_is_complete(const std::filesystem::path& directory, const ShardPlan& plan, std::int64_t index,
                       const ShardHeader& expected, const std::vector<Column>& columns, std::string& why);

/// Reads the manifest of a table. It is an error, which says the reason, where there is none, where it is another
/// program's, of another format than `expected_format` ("" stands for any of ours) or of a newer version, and where it
/// is damaged, was edited, or contradicts itself.
nlohmann::json load_manifest(const std::filesystem::path& directory, const std::string& expected_format);
ShardPlan manifest_plan(const nlohmann::json& manifest);
/// What shard_facts must return for a shard that a manifest lists.
nlohmann::json listed_facts(const nlohmann::json& manifest, std::int64_t index);

/// The content hash of the table that a manifest closes, which is that of its shards' hashes.
std::string content_hash(const nlohmann::json& manifest);
/// The same for the table in `directory`; "" where there is none, or a damaged one.
std::string table_hash(const std::filesystem::path& directory);

/// Closes a table: opens every shard, checks that they belong together, and writes manifest.json last. It holds format,
/// version, rows, shard_rows, block_rows, columns, provenance, `summary`, and name, rows and content hash of every
/// shard.
void publish_manifest(const std::filesystem::path& directory, const ShardPlan& plan, const std::string& format,
                      const nlohmann::json& summary);

}  // namespace couplet
