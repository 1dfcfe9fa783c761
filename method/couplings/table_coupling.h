// Pairs that lie in a coupling table, whoever made it.
#pragma once

#include "method/couplings/coupling.h"

#include <memory>

namespace couplet {

/// The pairs of sources.train_table, and as held-out ones those of sources.test_table. Without a test table a twentieth
/// of the training table's blocks is held out, chosen by sources.held_out_seed, and a table of a single block is
/// refused. Noise is divided by the training table's σ_f. Images of a floating-point type are as models see them.
std::unique_ptr<Coupling> make_table_coupling(const CouplingSources& sources);

}  // namespace couplet
