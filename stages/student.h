// The few-step student.
#pragma once

#include "method/couplings/coupling.h"
#include "pipeline/run/stage_context.h"
#include "pipeline/training/task.h"

#include <optional>

namespace couplet {

/// Trains the field that the configuration names on the pairs of the student's coupling, by an objective along a path.
/// Initial weights, times and label drops, and the order of the images, are the same for equal seeds, whatever the
/// coupling. Publishes weights.safetensors, ema.safetensors and summary.json, what the coupling has learnt, and in
/// coupling.json what the pairs of a coupling without a table are like.
void student(StageContext& context);

/// The state of a coupling as part of training's checkpoints; nothing where drawing leaves none. The coupling outlives
/// it.
std::optional<BatchState> state_of(Coupling& coupling);

}  // namespace couplet
