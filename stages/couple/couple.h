// The coupling table: every training image carried to its noise by the teacher.
#pragma once

#include "pipeline/run/stage_context.h"

#include <cstdint>
#include <string>
#include <vector>

namespace couplet {

/// Shards of both tables counted through: those of the training images, then those of the held-out ones.
struct ShardRange {
  std::int64_t first = 0, last = 0;
};
/// "0-63" or "7"; anything else is refused.
ShardRange parse_shard_range(const std::string& text);

/// One of several equal parts of all shards, whose number need not be known yet.
struct ShardPart {
  std::int64_t part = 0, parts = 1;
};
/// "3/8": the fourth of eight; anything else is refused.
ShardPart parse_shard_part(const std::string& text);

/// One pass of the teacher's EMA weights over all rows (sample, mirror image, draw of ε'): f(x + η ε', label), stored
/// raw. Publishes RUN/coupling/NAME/train (training images) and RUN/coupling/NAME/test (held-out ones). Rows are
/// computed in fixed slices aligned to their shard's start, the last one padded, so shards are byte-equal for any
/// number of ranks and interruptions. σ_f is finished from the shards' sums and stands in the manifest's summary.
void couple(StageContext& context);

/// The missing shards of `range` only, and no manifest: one of several jobs on the same directory. Jobs whose ranges
/// overlap do work twice and no harm. Collective.
void couple_shards(StageContext& context, const ShardRange& range);
/// The same for a part; with more parts than shards, some have nothing to make.
void couple_part(StageContext& context, const ShardPart& part);
/// The shards, counted through, whose files are not there: two lists of names, and no shard is opened. For one rank.
std::vector<std::int64_t> absent_shards(const StageContext& context);
/// Publishes both manifests once every shard is there, and returns nothing; else the missing shards, counted through.
/// For one rank, which owns the stage.
std::vector<std::int64_t> close_coupling(StageContext& context);

}  // namespace couplet
