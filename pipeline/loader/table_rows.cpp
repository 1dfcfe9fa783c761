#include "pipeline/loader/table_rows.h"

#include "pipeline/tensor/tensor_bytes.h"
#include "pipeline/tensor/weights.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace couplet {

at::Tensor read_rows(const RowTable& table, const std::string& column, std::int64_t first, std::int64_t count) {
  const std::size_t index = table.column(column);
  const Column& described = table.columns().at(index);
  std::vector<std::int64_t> sizes{count};
  sizes.insert(sizes.end(), described.shape.begin(), described.shape.end());
  at::Tensor out = at::empty(sizes, scalar_type(described.type));
  table.read(index, first, count, writable_bytes(out));
  return out;
}

at::Tensor read_numbered_rows(const RowTable& table, const std::string& column,
                              const std::vector<std::int64_t>& numbers) {
  const ShardPlan& plan = table.plan();
  const auto block_of = [&](std::int64_t row) {
    const std::int64_t shard = row / plan.shard_rows;
    return std::pair(shard, (row - plan.first_row(shard)) / table.block_rows());
  };
  std::vector<at::Tensor> parts;
  for (auto begin = numbers.begin(), end = begin; begin != numbers.end(); begin = end) {
    end = std::find_if(begin, numbers.end(), [&](std::int64_t row) { return block_of(row) != block_of(*begin); });
    const std::vector<std::int64_t> here(begin, end);
    parts.push_back(read_rows(table, column, here.front(), here.back() + 1 - here.front())
                        .index_select(0, at::tensor(here, at::kLong) - here.front()));
  }
  return at::cat(parts);
}

}  // namespace couplet
