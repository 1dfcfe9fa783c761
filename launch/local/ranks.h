// How many processes and threads a run uses on this machine, and how they are started.
#pragma once

#include "pipeline/config/config.h"

#include <cstdint>
#include <string>
#include <vector>

namespace couplet {

/// Returns pipeline.ranks; for 0, a rank for each GPU where there are GPUs, else two, or one where there is one core.
std::int64_t resolve_ranks(const PipelineConfig& pipeline);
/// Returns the number of ranks on this host, which mpirun, Hydra or srun says; without them there is this one.
std::int64_t local_ranks();
/// True if mpirun or Hydra started this process: it is a child of theirs on this host, and is to end with them.
bool is_launchers_child();
/// What stands before a program's own words to start so many ranks of it on this machine, with the launcher of the MPI
/// that this program is built with; nothing for one. An error says what to do where the launcher is not on PATH.
std::vector<std::string> launcher_words(std::int64_t ranks);
/// Returns pipeline.threads; for 0, the cores divided by the ranks of this host, at least one.
std::int64_t resolve_threads(const PipelineConfig& pipeline, std::int64_t local_ranks);
/// The same for a rank that srun or mpirun started as a task of a Slurm job: for 0, the CPUs that the job asked for
/// each task (SLURM_CPUS_PER_TASK), if it did.
std::int64_t resolve_task_threads(const PipelineConfig& pipeline, std::int64_t local_ranks);

/// Sets the environment that ranks of this machine inherit, of so many threads each.
void set_rank_environment(std::int64_t ranks, std::int64_t threads);

}  // namespace couplet
