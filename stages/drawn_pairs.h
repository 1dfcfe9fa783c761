// The coupling of a student, judged by pairs that it draws.
#pragma once

#include "method/couplings/coupling.h"
#include "pipeline/distributed/communicator.h"

#include <cstdint>
#include <nlohmann/json.hpp>

namespace couplet {

/// Draws the steps behind the last one of training, as many as give the pairs that a coupling is judged by, and judges
/// these (method/statistics/coupling_quality.h): what a student trained on would be given next. On rank 0; null on the
/// others. Called when nobody else draws any more. Collective.
///
/// Behind training, since a coupling is drawn one step after the other: training's own pairs are as they were, it waits
/// for nothing, and a coupling that learns while it draws is judged as training left it. A training that is resumed,
/// behind its last step too, has the coupling's state of that step, so that the same pairs are drawn again.
/// Of a data set of fewer `images` than there should be pairs, as many pairs are drawn: more would see images again.
nlohmann::ordered_json judge_drawn_pairs(Coupling& coupling, std::int64_t steps, std::int64_t batch,
                                         std::int64_t images, Communicator& communicator);

}  // namespace couplet
