// Tables that tests write and couplings read.
#pragma once

#include "storage/tables/filenames.h"
#include "storage/tables/row_shard_writer.h"
#include "storage/tables/row_table.h"

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace couplet::testing {

/// Writes columns of equal length as a table.
inline void write_table(const std::filesystem::path& directory, const std::string& format,
                        const std::vector<Column>& columns, const std::vector<at::Tensor>& values,
                        std::int64_t block_rows, const nlohmann::json& provenance, const nlohmann::json& summary) {
  std::filesystem::create_directories(directory);
  const ShardPlan plan{values.front().size(0), 3 * block_rows};
  for (std::int64_t shard = 0; shard < plan.shards(); ++shard) {
    const std::int64_t first = plan.first_row(shard), count = plan.rows_of(shard);
    RowShardWriter writer(directory / shard_name(shard, plan.shards()),
                          {format, 1, first, count, block_rows, provenance}, columns);
    for (std::size_t column = 0; column < values.size(); ++column) {
      const at::Tensor rows = values[column].narrow(0, first, count).contiguous();
      writer.write(column, 0, {static_cast<const std::byte*>(rows.const_data_ptr()), rows.nbytes()});
    }
    writer.finish({{"nonfinite_rows", 0}});
  }
  publish_manifest(directory, plan, format, summary);
}

}  // namespace couplet::testing
