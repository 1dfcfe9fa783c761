// The stage that fills a coupling table, by whoever makes it.
#pragma once

#include "stages/couple/sharded_table.h"

#include <cstdint>
#include <string>
#include <vector>

namespace couplet {

/// "0-63" or "7"; anything else is refused.
ShardRange parse_shard_range(const std::string& text);
/// "3/8": the fourth of eight; anything else is refused.
ShardPart parse_shard_part(const std::string& text);

/// Makes the table of the node. Collective.
void couple(StageContext& context);

/// Several jobs can share the making of the node's table.
bool is_made_in_parts(const Config& config, const StageNode& node);

/// A range of its shards, or a part of them, as one of several jobs (stages/couple/sharded_table.h). A table that is
/// not made shard by shard is refused. Collective.
void couple_shards(StageContext& context, const ShardRange& range);
void couple_part(StageContext& context, const ShardPart& part);
/// Publishes the manifests once every shard is there, and returns nothing; else the missing shards. For one rank.
std::vector<std::int64_t> close_coupling(StageContext& context);

}  // namespace couplet
