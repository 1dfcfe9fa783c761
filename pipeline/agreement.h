// What all ranks must have in common before they work together.
#pragma once

#include "pipeline/communicator.h"

#include <nlohmann/json.hpp>

#include <string>

namespace couplet {

/// Collective. `facts` is a JSON object, nested as one likes. If it is not the same on all ranks, throws on each of
/// them (status 2): `what` they disagree about, and for every key that differs the values and which ranks have them.
void require_agreement(Communicator& communicator, const std::string& what, const nlohmann::json& facts);

}  // namespace couplet
