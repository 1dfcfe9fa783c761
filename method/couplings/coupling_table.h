// What a row of a coupling table is. docs/coupling-table.md specifies the format.
#pragma once

#include "method/data/dataset.h"
#include "storage/tables/row_table.h"

#include <cstdint>
#include <vector>

namespace couplet {

inline constexpr char coupling_format[] = "couplet-coupling";
inline constexpr float not_measured = -1;  ///< in the column `round_trip`

struct CouplingRow {
  std::int64_t sample = 0;     ///< row of the data set
  bool flip = false;           ///< mirrored left to right
  std::int64_t replicate = 0;  ///< which draw of ε'
};

/// The numbering of a table's rows: samples in order; of each sample the image, then its mirror image; of each of these
/// all draws of ε'.
struct CouplingRows {
  std::int64_t samples = 0;
  bool flips = true;
  std::int64_t replicates = 1;

  std::int64_t rows() const { return samples * (flips ? 2 : 1) * replicates; }
  CouplingRow at(std::int64_t row) const {
    const std::int64_t image = row / replicates;
    return {flips ? image / 2 : image, flips && image % 2 == 1, row % replicates};
  }
};

/// noise, image, label, sample, flip, replicate, nll, round_trip.
std::vector<Column> coupling_columns(const DatasetShape& shape, ElementType noise_type);

}  // namespace couplet
