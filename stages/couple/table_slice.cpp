#include "stages/couple/table_slice.h"

#include "pipeline/loader/table_rows.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace couplet {

TableSlice read_slice(const TableSplit& table, std::int64_t first, std::int64_t count, std::int64_t slice_rows) {
  TableSlice slice{count, {}, {}, {}, {}, {}, {}};
  std::vector<std::int64_t> samples;
  std::vector<std::uint8_t> flips;
  std::vector<std::int32_t> replicates;
  for (std::int64_t i = 0; i < slice_rows; ++i) {
    slice.row.push_back(first + std::min(i, count - 1));
    const CouplingRow row = table.rows.at(slice.row.back());
    samples.push_back(row.sample);
    flips.push_back(row.flip ? 1 : 0);
    replicates.push_back(static_cast<std::int32_t>(row.replicate));
  }
  slice.sample = at::tensor(samples, at::kLong);
  slice.flip = at::tensor(flips, at::kByte);
  slice.replicate = at::tensor(replicates, at::kInt);
  const std::int64_t low = samples.front(), span = samples[static_cast<std::size_t>(count - 1)] - low + 1;
  slice.image = read_rows(table.images, "image", low, span).index_select(0, slice.sample - low);
  slice.label = read_rows(table.images, "label", low, span).index_select(0, slice.sample - low);
  const at::Tensor mirrored = slice.flip.to(at::kBool).view({-1, 1, 1, 1});
  slice.image = at::where(mirrored, slice.image.flip({3}), slice.image);
  return slice;
}

}  // namespace couplet
