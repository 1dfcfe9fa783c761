// The files that hold what a stage's ranks said. What rank 0 says is in the stage's log; what other ranks, the launcher
// and the job script say is in the job's output, or in the log where `couplet run` was the launcher.
#pragma once

#include "pipeline/run/run_directory.h"
#include "pipeline/run/stage_graph.h"

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace couplet {

/// Returns the logs of a stage and of its parts, then the outputs of its jobs over all submissions, each oldest first.
std::vector<std::filesystem::path> log_files(const RunDirectory& run, const StageNode& node);
/// Returns the one of the stage's own logs that was written to last.
std::filesystem::path newest_log(const RunDirectory& run, const StageNode& node);

/// Picks lines of these files.
class LineFilter {
public:
  /// Picks what `rank` said, or all lines without one.
  LineFilter(StageNode node, std::optional<std::int64_t> rank) : node_(std::move(node)), rank_(rank) {}
  /// Picks each line once: what rank 0 says stands in the stage's log, and again in the job's output.
  bool picks(const std::filesystem::path& file, const std::string& line) const;

private:
  StageNode node_;
  std::optional<std::int64_t> rank_;
};

}  // namespace couplet
