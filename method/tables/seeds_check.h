// What the rows of a table of seeds must be beyond their checksums.
#pragma once

#include "storage/tables/row_shard.h"

#include <filesystem>
#include <string>
#include <vector>

namespace couplet {

/// Problems of a shard of a table of seeds: rows out of order, ids or labels below 0, flips that are neither 0 nor 1,
/// and, where the provenance is of kind loom, rows that are not of the image that their number says. Shards of other
/// formats have none.
std::vector<std::string> check_seeds_rows(const RowShard& shard);

/// Problems of a whole table of seeds whose shards have none: an order that breaks between two shards, ids that come
/// twice, and, where the provenance is of kind loom, ids outside the range of its generation. Memory: 8 bytes a row.
std::vector<std::string> check_seeds_table(const std::filesystem::path& directory);

}  // namespace couplet
