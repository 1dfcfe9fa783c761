#include "pipeline/loader/table_rows.h"

#include "pipeline/tensor/tensor_bytes.h"
#include "pipeline/tensor/weights.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <iterator>
#include <vector>

namespace couplet {

at::Tensor empty_rows(const Column& column, std::int64_t count) {
  std::vector<std::int64_t> sizes{count};
  sizes.insert(sizes.end(), column.shape.begin(), column.shape.end());
  return at::empty(sizes, scalar_type(column.type));
}

at::Tensor read_rows(const RowTable& table, const std::string& column, std::int64_t first, std::int64_t count) {
  const std::size_t index = table.column(column);
  at::Tensor out = empty_rows(table.columns().at(index), count);
  table.read(index, first, count, writable_bytes(out));
  return out;
}

at::Tensor read_numbered_rows(const RowTable& table, const std::string& column,
                              const std::vector<std::int64_t>& numbers) {
  const std::size_t index = table.column(column), row_bytes = table.columns().at(index).row_bytes();
  std::vector<std::int64_t> once = numbers, place;
  once.erase(std::unique(once.begin(), once.end()), once.end());
  at::Tensor out = empty_rows(table.columns().at(index), std::ssize(once));
  const std::span<std::byte> bytes = writable_bytes(out);
  std::vector<std::byte*> places;
  for (std::size_t i = 0; i < once.size(); ++i) places.push_back(bytes.data() + i * row_bytes);
  table.gather(index, once, places);
  if (once.size() == numbers.size()) return out;
  for (const std::int64_t number : numbers) place.push_back(std::ranges::lower_bound(once, number) - once.begin());
  return out.index_select(0, at::tensor(place, at::kLong));
}

}  // namespace couplet
