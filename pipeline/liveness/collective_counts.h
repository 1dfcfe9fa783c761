// The collectives that this process has entered since it started: totals that a run is compared with its model by
// (docs/scaling.md).
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace couplet {

struct CollectiveCount {
  std::int64_t calls = 0;
  std::int64_t bytes = 0;  ///< of the tensors that this rank gave
};

/// By operation: "all_reduce", "broadcast" and the like; "check", by which ranks see that they mean the same call. One
/// process without MPI enters none.
std::map<std::string, CollectiveCount> collective_counts();
/// Counts one that is no call of the communicator's own.
void count_collective(const char* operation, std::int64_t bytes);

}  // namespace couplet
