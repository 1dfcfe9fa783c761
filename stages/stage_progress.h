// How far a stage is, from what it has left on the disk: counts, how fast they grow, how old the newest of them is.
#pragma once

#include "pipeline/config/config.h"
#include "pipeline/run/stage_context.h"

#include <cstdint>
#include <filesystem>
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

// Each reads names and the ends of files only, however large the stage is.

/// Steps of a stage that trains.
StageWork training_work(const std::filesystem::path& directory, const TrainingConfig& training);
/// Shards under a directory; how many there will be stands in their names.
StageWork shard_work(const std::filesystem::path& directory);
/// Those of a coupling table, and how fast they are made.
StageWork table_work(const StageNode& node, const RunView& view);
/// Scores, of which `records` is the file.
StageWork score_work(const std::filesystem::path& records, std::int64_t done, std::int64_t total);

}  // namespace couplet
