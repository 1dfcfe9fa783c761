// Tables of mapped noise: the rows of another table, whose noise a map has made more Gaussian.
#pragma once

#include "stages/couple/sharded_table.h"

namespace couplet {

/// Row by row of the table RunTable::base: noise T(f / σ_f) in place of f, T the map (method/gaussianisation), and in
/// place of the column `nll` that of teacher and map together, where there is one. All else is as it was; the column
/// `round_trip`, which is of the teacher alone, is left out. A shard's summary adds up the nats that the map closes.
extern const ShardedTable gaussianisation;

}  // namespace couplet
