// What ranks agree on: what they must have in common before they work together, whether to stop, where each
// notes what it does, and what failed.
#pragma once

#include "pipeline/distributed/communicator.h"
#include "pipeline/liveness/rank_board.h"

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

namespace couplet {

/// Collective. `facts` is a JSON object, nested as one likes. If it is not the same on all ranks, throws on each of
/// them (status 2): `what` they disagree about, and for every key that differs the values and which ranks have them.
void require_agreement(Communicator& communicator, const std::string& what, const nlohmann::json& facts);
/// True on every rank if any rank was asked to stop. Collective.
bool agree_to_stop(Communicator& communicator);
/// A board in `directory`, which all ranks share and which is made, where every rank has noted what it does. An error
/// that names a rank which cannot. Collective.
RankBoard make_board(Communicator& communicator, const std::filesystem::path& directory, const std::string& name);
/// Calls `work` here; returns why it failed, or "".
std::string reason_of_failure(const std::function<void()>& work);

}  // namespace couplet
