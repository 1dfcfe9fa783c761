// The table sd: numbered noises, each beside the image that semidiscrete optimal transport carries it to.
#pragma once

#include "pipeline/run/stage_context.h"

namespace couplet {

/// Learns the potentials of the training images (method/transport/potentials.h), says χ² with its standard error every
/// couple.sd-check-every steps, and stops at couple.sd-target, or after couple.sd-steps with a warning. Then it assigns
/// the noises 0 … couple.sd-draws · N - 1 and publishes RUN/coupling/NAME/train, a table of seeds. Its summary says
/// what that took: steps, noises, seconds over all attempts, χ² and its standard error.
///
/// Potentials are checkpointed every pipeline.checkpoint-every steps, and when a stop is asked for: throws Interrupted.
/// The assignment is made anew by the next attempt. The table's rows are the same bytes for any number of ranks,
/// threads and interruptions, at equal device type. Collective.
///
/// Memory of a rank: N/R · 4 · d bytes of images, where d is couple.sd-dims or all their values; 24 bytes a noise of
/// the table on rank 0, 8 on the others.
void make_semidiscrete_table(StageContext& context);

}  // namespace couplet
