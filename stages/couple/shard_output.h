// A shard that is written while the rows behind it are computed.
#pragma once

#include "storage/files/atomic_file.h"
#include "storage/tables/row_shard_writer.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <future>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

namespace couplet {

/// One piece of work at a time on a thread of its own: what it throws is thrown by the call behind it.
class ShardOutput {
public:
  ShardOutput(const std::filesystem::path& path, const ShardHeader& header, const std::vector<Column>& columns);
  /// A shard that was not published leaves nothing.
  ~ShardOutput();

  /// Rows of the columns named by their index, contiguous CPU tensors [n, shape...] of the columns' types, the first of
  /// them row `first` of the shard.
  void write(std::int64_t first, std::vector<std::pair<std::size_t, at::Tensor>> rows);
  void publish(const nlohmann::json& summary);
  void wait();

private:
  template <class Work>
  void start(Work work);

  Pending pending_;
  RowShardWriter writer_;
  std::future<void> work_;
};

}  // namespace couplet
