// The room that shards will take.
#pragma once

#include "storage/tables/row_shard_layout.h"
#include "storage/tables/table_manifest.h"

#include <filesystem>
#include <string_view>
#include <vector>

namespace couplet {

/// Refuses a file system with less room than those shards of a table take whose files are not there yet. `what` they
/// are in the message.
void require_space_for_shards(const std::filesystem::path& directory, const ShardPlan& plan,
                              const std::vector<Column>& columns, std::string_view what);

}  // namespace couplet
