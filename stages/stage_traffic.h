// What the ranks of an attempt at a stage ask of files and of each other, counted: RUN/log/STAGE.traffic.json. It is
// what the model of stages/cost/stage_load is compared with (docs/scaling.md). A job that makes a part of a table leaves
// its own, beside the log of that part.
#pragma once

#include "pipeline/distributed/communicator.h"
#include "pipeline/liveness/collective_counts.h"
#include "storage/files/file_counts.h"

#include <filesystem>
#include <map>
#include <string>

namespace couplet {

class StageTraffic {
public:
  /// Counts from here on.
  StageTraffic();
  /// Adds up over the ranks; rank 0 says the totals and publishes them:
  ///   {"ranks", "opens": {"all", "most"}, "looks", "renames", "syncs", "bytes_read", "bytes_written", "memory",
  ///    "collectives": {"all_reduce": {"calls", "bytes"}, ...}}
  /// "all": of all ranks together; "most": of the one with the most. Memory is the most that the process has taken, in
  /// bytes. Collectives are those that one rank enters, with the bytes of the tensors that it gives. Collective, and
  /// not counted.
  void publish(Communicator& communicator, const std::filesystem::path& path) const;

private:
  FileCounts files_;
  std::map<std::string, CollectiveCount> collectives_;
};

}  // namespace couplet
