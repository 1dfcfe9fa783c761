// Writes a table of seeds (method/tables/seeds_table.h).
#pragma once

#include "method/tables/seeds_table.h"
#include "storage/tables/table_manifest.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <vector>

namespace couplet {

struct SeedsLayout {
  ShardPlan plan;
  std::int64_t block_rows = 256;
  nlohmann::json provenance;  ///< {"dataset", "seed", "kind", …}
};

/// Publishes the shards one by one, each whole or not at all, and then the manifest, with `summary`, into a directory
/// that is there. `read(first, count)` gives rows in order; it is called once for each row. Rows that are not in the
/// table's order are an error that names the first. Memory: 65536 rows.
void write_seeds_table(const std::filesystem::path& directory, const SeedsLayout& layout,
                       const std::function<SeedRows(std::int64_t first, std::int64_t count)>& read,
                       const nlohmann::json& summary);

/// Publishes rows, which are in the order of the format, as a table in `directory`: it appears whole, in place of an
/// earlier one.
void publish_seeds(const std::filesystem::path& directory, const SeedRows& rows, const nlohmann::json& provenance);

}  // namespace couplet
