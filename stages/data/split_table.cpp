#include "stages/data/split_table.h"

#include "method/data/dataset.h"
#include "pipeline/distributed/agreement.h"
#include "pipeline/liveness/activity.h"
#include "pipeline/process/interruption.h"
#include "storage/files/atomic_file.h"
#include "storage/tables/filenames.h"
#include "storage/tables/shard_space.h"

#include <fmt/format.h>

namespace couplet {

ShardHeader SplitTable::header(std::int64_t shard) const {
  return {dataset_format, newest_shard_version, plan.first_row(shard), plan.rows_of(shard), block_rows, provenance};
}

void make_shards(const SplitTable& table, const std::string& stage, const std::string& what, Communicator& communicator,
                 const std::function<void(const ShardHeader& header, const std::filesystem::path& path)>& write) {
  run_on_all(communicator, [&] {
    if (!communicator.is_root()) return;
    std::filesystem::create_directories(table.directory);
    remove_leftovers(table.directory);
    require_space_for_shards(table.directory, table.plan, table.columns, fmt::format("{} split {}", what, table.name));
  });
  const std::int64_t shards = table.plan.shards(), ranks = communicator.size();
  for (std::int64_t round = 0; round < shards; round += ranks) {
    const std::int64_t shard = round + communicator.rank();
    std::string why;
    if (shard < shards && !stop_requested()) {
      note_progress(fmt::format("{}, shard {} of {}", table.name, shard, shards));
      const ShardHeader header = table.header(shard);
      if (!shard_is_complete(table.directory, table.plan, shard, header, table.columns, why))
        write(header, table.directory / shard_name(shard, shards));
    }
    if (agree_to_stop(communicator))
      throw Interrupted(fmt::format("{}: stopped after whole shards; the same command makes the rest", stage));
  }
}

}  // namespace couplet
