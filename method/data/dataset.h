// A data set of images, as models see it.
#pragma once

#include "storage/tables/row_table.h"

#include <cstdint>
#include <vector>

namespace couplet {

/// What every stage needs to know of a data set, from the provenance and summary of its table.
struct DatasetShape {
  std::int64_t channels = 0, size = 0;  ///< images are [channels, size, size]
  std::int64_t classes = 0;
  std::vector<std::int64_t> class_counts;  ///< rows of each class
};
/// Refuses images that are not square.
DatasetShape dataset_shape(const RowTable& table);

}  // namespace couplet
