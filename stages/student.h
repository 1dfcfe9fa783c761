// The few-step student.
#pragma once

#include "pipeline/run/stage_context.h"

namespace couplet {

/// Trains a SiT by flow matching from the coupling table (coupling nf) or from the same rows with fresh noise
/// (independent); everything else — initial weights, rows, times, label drops — is the same for equal seeds. Publishes
/// weights.safetensors, ema.safetensors and summary.json.
void student(StageContext& context);

}  // namespace couplet
