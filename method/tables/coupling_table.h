// What a row of a coupling table is. docs/coupling-table.md specifies the format.
#pragma once

#include "method/data/dataset.h"
#include "storage/tables/row_table.h"

#include <ATen/core/Tensor.h>

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

/// What a table holds of a data set's rows: these rows, or what models see of them (Codec::tables_hold_seen).
at::Tensor table_images(const at::Tensor& stored, const Codec& codec);
/// The images of a table as models see them, float32: `stored` are rows of its column `image`. They are that already
/// where the codec says so, and beside a codec that stores integers where they are of a float type (of tables that were
/// imported, or made by a student); all others are encoded. What it returns is the caller's own.
at::Tensor seen_images(const at::Tensor& stored, const Codec& codec);
/// The same as pixels, uint8 [N, ...].
at::Tensor image_pixels(const at::Tensor& stored, const Codec& codec);

/// noise, image, label, sample, flip, replicate, nll, round_trip. The column `image` may be of a float type instead
/// (`seen_images`).
std::vector<Column> coupling_columns(const DatasetShape& shape, ElementType noise_type);

}  // namespace couplet
