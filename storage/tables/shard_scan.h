// One pass over every byte of a shard: its content hash, its checksums, its values.
#pragma once

#include "storage/tables/row_shard.h"

#include <cstdint>
#include <string>
#include <vector>

namespace couplet {

/// Rows [first, last] of a column, by the shard's own numbers.
struct RowRange {
  std::size_t column = 0;
  std::int64_t first = 0, last = 0;
};

struct ShardScan {
  std::string content_hash;         ///< as content_hash gives it
  std::vector<RowRange> damaged;    ///< blocks, or rows, without their checksum, in the file's order
  std::vector<RowRange> nonfinite;  ///< rows with NaN or infinite values, neighbours joined
};

/// Reads the file once, in the order of its bytes, with one piece of 256 KiB in memory. Damage is reported, not thrown;
/// a file that cannot be read is an error.
ShardScan scan_shard(const RowShard& shard);
/// The hash by which a manifest knows a shard: of version 1 that of the whole file, as hash_file gives it; of later
/// ones that of the bytes outside the columns, which hold the checksums of all others. It tells what the shard should
/// hold, and is trusted no further than its rows are checked.
std::string content_hash(const RowShard& shard);

}  // namespace couplet
