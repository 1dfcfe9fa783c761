// How many processes and threads a run uses on this machine.
#pragma once

#include "pipeline/config/config.h"

#include <cstdint>

namespace couplet {

/// pipeline.ranks; for 0: a rank a GPU where there are GPUs, else two, or one where there is one core.
std::int64_t resolve_ranks(const PipelineConfig& pipeline);
/// Ranks on this host, as mpirun or srun tells this process; without them, this one.
std::int64_t local_ranks();
/// pipeline.threads; for 0: the cores divided by the ranks of this host, at least one.
std::int64_t resolve_threads(const PipelineConfig& pipeline, std::int64_t local_ranks);
/// The same for a rank that srun or mpirun started as a task of a Slurm job: for 0, the CPUs that the job asked for a
/// task (SLURM_CPUS_PER_TASK), where it did.
std::int64_t resolve_task_threads(const PipelineConfig& pipeline, std::int64_t local_ranks);

}  // namespace couplet
