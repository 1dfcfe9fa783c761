// What a run was made from and with.
#pragma once

#include "pipeline/run/stage_context.h"

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace couplet {

struct Fact {
  std::string name;
  std::string text;
};

/// Lists content hashes of data set, coupling tables and weights; feature network with hash and resize, reference with
/// hash; seed, ranks, program versions. What is not there is left out.
std::vector<Fact> provenance(const RunView& view, const nlohmann::json& results,
                             const std::vector<nlohmann::json>& stages);

}  // namespace couplet
