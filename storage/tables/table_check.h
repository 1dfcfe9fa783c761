// What is wrong with a table. Every file is compared with its own checksums and with the manifest; nothing is changed.
#pragma once

#include "storage/tables/row_shard.h"
#include "storage/tables/table_manifest.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace couplet {

struct Problem {
  std::string file;  ///< its name in the table's directory
  std::string what;  ///< what is wrong; with the rows, where it is about rows
};

/// What a directory holds, compared with what it should hold.
struct TableSurvey {
  std::filesystem::path directory;
  std::optional<nlohmann::json> manifest;  ///< nothing where it is missing or damaged
  std::int64_t shards = 0;                 ///< as the manifest says; without one, as the files' names do
  std::vector<Problem> problems;           ///< manifest, missing shards, files that do not belong there
};

/// Looks at the manifest and the names. Refuses a directory that holds neither a manifest nor a shard.
TableSurvey survey_table(const std::filesystem::path& directory);

/// Returns the problems of a shard whose bytes are sound: what its rows must fulfil besides (numbering, labels).
using RowRules = std::function<std::vector<std::string>(const RowShard& shard)>;

/// Returns all problems of shard `index`, or none if its file is missing, as the survey says so. Without a manifest,
/// shards are compared with the first one that can be read. With `quick` only header, size and place are looked at.
std::vector<Problem> check_shard(const TableSurvey& survey, std::int64_t index, bool quick, const RowRules& rules);
/// Returns all problems of one file that stands alone, without a manifest.
std::vector<Problem> check_file(const std::filesystem::path& path, bool quick, const RowRules& rules);

}  // namespace couplet
