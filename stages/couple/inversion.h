// Tables that the teacher fills: every image carried to its noise.
#pragma once

#include "stages/couple/sharded_table.h"

namespace couplet {

/// One pass of the teacher's EMA weights over all rows (sample, mirror image, draw of ε'): f(x + η ε', label), stored
/// raw (method of NFM, arXiv 2603.09014). Rows that come out NaN or infinite are an error unless
/// couple.allow-nonfinite.
extern const ShardedTable inversion;

}  // namespace couplet
