// What ranks agree on: what they must have in common before they work together, whether to stop, where each
// notes what it does, and what failed.
#pragma once

#include "pipeline/distributed/communicator.h"
#include "pipeline/liveness/heartbeat_files.h"

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace couplet {

/// Collective. `facts` is a JSON object, nested as one likes. If it is not the same on all ranks, throws on each of
/// them (status 2): `what` they disagree about, and for every key that differs the values and which ranks have them.
void require_agreement(Communicator& communicator, const std::string& what, const nlohmann::json& facts);
/// True on every rank if any rank was asked to stop. Collective.
bool agree_to_stop(Communicator& communicator);
/// The heartbeat files of a job of that name in `directory`, which is made and which all ranks must share. Every rank
/// has written its first heartbeat when this returns; one that cannot is named in the error. Collective.
HeartbeatFiles make_heartbeat_files(Communicator& communicator, const std::filesystem::path& directory,
                                    const std::string& name);

/// A rank whose part of some work failed.
struct FailedRank {
  int rank = 0;
  std::string reason;
};
/// Calls `work` on every rank, and a rank that fails waits for the others all the same: returns the first of those that
/// failed, equal on all ranks, or nothing. Collective, as far as `work` is not.
std::optional<FailedRank> try_on_all(Communicator& communicator, const std::function<void()>& work);
/// The same, but where a rank failed all of them throw its error. With a `work` that does nothing on the other ranks:
/// what rank 0 does for all.
void run_on_all(Communicator& communicator, const std::function<void()>& work);

}  // namespace couplet
