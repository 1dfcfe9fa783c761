// Which back end this process talks through.
#pragma once

#include "pipeline/distributed/communicator.h"

#include <memory>
#include <string>

namespace couplet {

/// What this process was started as: MPI if mpirun or srun started it (OMPI_COMM_WORLD_SIZE, PMIX_RANK, PMI_RANK), else
/// single. `device` is "cpu", "cuda" or "auto" (resolve_device in pipeline/distributed/device.h). With CUDA and more
/// ranks than GPUs on a host: MPI through host memory, and it says so.
std::unique_ptr<Communicator> make_communicator(const std::string& device);

}  // namespace couplet
