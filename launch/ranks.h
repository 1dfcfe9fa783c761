// How many processes and threads a run uses on this machine.
#pragma once

#include "pipeline/config.h"

#include <cstdint>

namespace couplet {

/// CPU cores this process may use.
std::int64_t usable_cores();
/// pipeline.ranks; for 0: a rank a GPU where there are GPUs, else two, or one where there is one core.
std::int64_t resolve_ranks(const PipelineConfig& pipeline);
/// pipeline.threads; for 0: the cores divided by the ranks of this host, at least one.
std::int64_t resolve_threads(const PipelineConfig& pipeline, std::int64_t local_ranks);

}  // namespace couplet
