#include "storage/tables/shard_space.h"

#include "storage/files/atomic_file.h"
#include "storage/filesystem.h"
#include "storage/tables/filenames.h"

#include <cstdint>

namespace couplet {

void require_space_for_shards(const std::filesystem::path& directory, const ShardPlan& plan,
                              const std::vector<Column>& columns, std::string_view what) {
  double row_bytes = 0, rows = 0;
  for (const Column& column : columns) row_bytes += static_cast<double>(column.stored_bytes());
  for (std::int64_t shard = 0; shard < plan.shards(); ++shard)
    if (!is_there(directory / shard_name(shard, plan.shards()))) rows += static_cast<double>(plan.rows_of(shard));
  require_free_space(directory, static_cast<std::uint64_t>(shard_overhead * row_bytes * rows), what);
}

}  // namespace couplet
