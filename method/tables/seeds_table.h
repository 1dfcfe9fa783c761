// Tables of kind `seeds`: which noise belongs to which image, without the values of either. Noise is known by a number,
// its id, from which it is made again wherever it is needed: docs/coupling-table.md specifies the format.
#pragma once

#include "storage/tables/row_shard.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace couplet {

inline constexpr char seeds_format[] = "couplet-seeds";
/// Where a student whose coupling learns such a table has it, in its directory.
inline constexpr char seeds_folder[] = "seeds";

/// noise_id (int64), label (int32), sample (int64: row of the data set), flip (uint8: 1 is its mirror image). Rows are
/// in the order of samples; of each sample the image before its mirror image; of each of these by noise_id. An image
/// may have any number of rows, none too. The provenance says {"dataset": hash, "seed": of the noise, "kind"}.
std::vector<Column> seeds_columns();

/// Rows by column.
struct SeedRows {
  std::vector<std::int64_t> noise_id;
  std::vector<std::int32_t> label;
  std::vector<std::int64_t> sample;
  std::vector<std::uint8_t> flip;

  std::int64_t rows() const { return std::ssize(noise_id); }
  void add(std::int64_t id, std::int32_t its_label, std::int64_t its_sample, bool mirrored);
};

/// The noise of these ids, float32 [ids.size(), shape...], of unit variance: a function of (seed, id).
at::Tensor noise_of_ids(const std::vector<std::int64_t>& shape, std::uint64_t seed,
                        const std::vector<std::int64_t>& ids);

}  // namespace couplet
