// How far a stage is, from what it has left on the disk: counts, how fast they grow, how old the newest of them is.
#pragma once

#include "pipeline/config/config.h"
#include "pipeline/run/run_directory.h"
#include "pipeline/run/stage.h"

#include <cstdint>
#include <string>

namespace couplet {

/// Counted work of a stage; nothing is known where `total` is 0.
struct StageWork {
  std::int64_t done = 0, total = 0;
  std::string unit;       ///< steps, shards, scores
  double rate = 0;        ///< units a second, lately; 0: unknown
  double saved_ago = -1;  ///< seconds since the last checkpoint, shard or score; -1: there is none

  /// Seconds, at this rate; -1: unknown.
  double remaining() const { return rate > 0 && total > 0 ? static_cast<double>(total - done) / rate : -1; }
};

/// Reads names and the ends of files only, however large the stage is.
StageWork work_of(const StageNode& node, const Config& config, const RunDirectory& run);

}  // namespace couplet
