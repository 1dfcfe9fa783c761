#include "pipeline/loader/table_rows.h"

#include "pipeline/tensor/tensor_bytes.h"
#include "pipeline/tensor/weights.h"

#include <ATen/ATen.h>

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
  const std::int64_t begin = numbers.front(), count = numbers.back() + 1 - begin;
  return read_rows(table, column, begin, count).index_select(0, at::tensor(numbers, at::kLong) - begin);
}

}  // namespace couplet
