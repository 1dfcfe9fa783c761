// The tables that stages make of the splits of a data set.
#pragma once

#include "pipeline/distributed/communicator.h"
#include "storage/tables/row_shard_writer.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace couplet {

/// What is known of such a table before its rows are.
struct SplitTable {
  std::string name;  ///< of the split
  std::filesystem::path directory;
  ShardPlan plan;
  std::vector<Column> columns;
  nlohmann::json provenance;
  std::int64_t block_rows = 0;

  ShardHeader header(std::int64_t shard) const;
};

/// The ranks make the shards in turn, by `write`, which publishes one at the path or, where a stop is asked for
/// meanwhile, none; those that are whole are kept. Asked to stop, all ranks end after the shards that they have begun,
/// with Interrupted, which names the stage. `what` is stored there, in refusals for want of disk space. Collective.
void make_shards(const SplitTable& table, const std::string& stage, const std::string& what, Communicator& communicator,
                 const std::function<void(const ShardHeader& header, const std::filesystem::path& path)>& write);

}  // namespace couplet
