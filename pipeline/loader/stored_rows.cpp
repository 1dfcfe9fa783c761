#include "pipeline/loader/stored_rows.h"

#include <numeric>

namespace couplet {

void StoredRows::read(std::size_t column, std::int64_t first, std::int64_t count, std::span<std::byte> out) const {
  const std::size_t row_bytes = columns().at(column).row_bytes();
  std::vector<std::byte*> places(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < places.size(); ++i) places[i] = out.data() + i * row_bytes;
  std::vector<std::int64_t> numbers(places.size());
  std::iota(numbers.begin(), numbers.end(), first);
  gather(column, numbers, places);
}

}  // namespace couplet
