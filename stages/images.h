// Images between the tables (uint8) and the models (float on [-1, 1]).
#pragma once

#include "pipeline/random.h"
#include "storage/picture.h"
#include "storage/row_table.h"

#include <ATen/core/Tensor.h>

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

/// uint8 [...] → float32 on [-1, 1]: x / 127.5 - 1.
at::Tensor to_float(const at::Tensor& image);
/// float [...] → uint8, clamped and rounded; NaN becomes 0 (count NaN before).
at::Tensor to_uint8(const at::Tensor& image);

/// Noise of unit variance → uint8: black is -3 standard deviations, white 3.
at::Tensor noise_picture(const at::Tensor& noise);

/// uint8 [N, C, H, W] as one picture, `columns` images a row.
Picture picture_of(const at::Tensor& images, std::int64_t columns);

/// The teacher's noise. Gaussian: x + η ε'. Uniform: one grey level, (g + u) / 128 - 1 for grey value g and u in [0, 1)
/// (TarFlow's dequantisation).
struct ImageNoise {
  bool uniform = false;
  double standard_deviation = 0;  ///< η, for Gaussian noise
};
/// Noised float image of one uint8 image [C, H, W], drawn from (seed, purpose, index).
at::Tensor noised(const at::Tensor& image, const ImageNoise& noise, std::uint64_t seed, Purpose purpose,
                  std::uint64_t index);
/// The same for a stack of images [N, C, H, W], image i drawn from indices[i].
at::Tensor noised_rows(const at::Tensor& images, const ImageNoise& noise, std::uint64_t seed, Purpose purpose,
                       const std::vector<std::int64_t>& indices);
/// Standard normal [indices.size(), shape...], row i drawn from (seed, purpose, indices[i]).
at::Tensor normal_rows(const std::vector<std::int64_t>& shape, std::uint64_t seed, Purpose purpose,
                       const std::vector<std::int64_t>& indices);

/// Rows [first, first + count) of one column as a tensor [count, shape...].
at::Tensor read_rows(const RowTable& table, const std::string& column, std::int64_t first, std::int64_t count);

}  // namespace couplet
