// Tables of kind `seeds`: which noise belongs to which image, without the values of either. Noise is known by a number,
// its id, from which it is made again wherever it is needed: docs/coupling-table.md specifies the format.
#pragma once

#include "storage/tables/row_shard.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace couplet {

inline constexpr char seeds_format[] = "couplet-seeds";

/// noise_id (int64), label (int32), sample (int64: row of the data set), flip (uint8: 1 is its mirror image). Rows are
/// in the order of samples; of each sample the image before its mirror image; of each of these by noise_id. An image
/// may have any number of rows, none too. The provenance says {"dataset": hash, "seed": of the noise, "kind"}.
std::vector<Column> seeds_columns();

/// The noise of these ids, float32 [ids.size(), shape...], of unit variance: a function of (seed, id).
at::Tensor noise_of_ids(const std::vector<std::int64_t>& shape, std::uint64_t seed,
                        const std::vector<std::int64_t>& ids);

}  // namespace couplet
