// What the rows of a coupling table must be beyond their checksums.
#pragma once

#include "storage/tables/row_shard.h"

#include <string>
#include <vector>

namespace couplet {

/// Problems of a shard of a coupling table: rows whose sample, mirror image or draw is not the one that their number
/// and the provenance say (a hole, a duplicate, a wrong order), or whose label is negative. Shards of other formats
/// have none.
std::vector<std::string> check_coupling_rows(const RowShard& shard);

}  // namespace couplet
