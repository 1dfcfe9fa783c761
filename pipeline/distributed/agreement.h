// What the ranks agree on: what they must have in common before they work together, whether to stop, where each writes
// its heartbeats, and what failed.
#pragma once

#include "pipeline/distributed/communicator.h"
#include "pipeline/liveness/job_heartbeats.h"
#include "storage/error.h"

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace couplet {

/// Refuses `facts`, any JSON object, on every rank if they are not the same on all. The error says `what` the ranks
/// disagree about and, of each key that differs, the values and which ranks have them. Collective.
void require_agreement(Communicator& communicator, const std::string& what, const nlohmann::json& facts);
/// Returns true on every rank if any rank was asked to stop. Collective.
bool agree_to_stop(Communicator& communicator);
/// The heartbeats of a job of that name in `directory`, which is made and which all nodes must share. Every rank's
/// first heartbeat is written when this returns; a rank that cannot write is named in the error. Collective.
JobHeartbeats make_job_heartbeats(Communicator& communicator, const std::filesystem::path& directory,
                                  const std::string& name);

/// A rank whose part of some work failed.
struct FailedRank {
  int rank = 0;
  ExitStatus status = exit_failed;
  std::string reason;
};
/// Calls `work` on every rank, and waits for all ranks even where one has failed. Returns the first rank that failed,
/// the same on all ranks, or nothing. Collective; `work` is not.
std::optional<FailedRank> try_on_all(Communicator& communicator, const std::function<void()>& work);
/// The same, but where a rank failed all of them throw its error, with its status. Where `work` does nothing on ranks
/// other than 0, this is how rank 0 does something for all.
void run_on_all(Communicator& communicator, const std::function<void()>& work);
/// The hash of a file's content (storage/files/hash.h), which rank 0 reads for all. Collective.
std::string hash_for_all(Communicator& communicator, const std::filesystem::path& path);

}  // namespace couplet
