// The choice of the back end through which the ranks communicate.
#pragma once

#include "pipeline/distributed/communicator.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace couplet {

/// The communicator of this process: over MPI if mpirun or srun started it (OMPI_COMM_WORLD_SIZE, PMIX_RANK, PMI_RANK),
/// else of one process. `device` is "cpu", "cuda" or "auto" (resolve_device in pipeline/distributed/device.h). With
/// CUDA, the ranks use NCCL; where ranks share a GPU all use MPI through host memory, and a line says so. A process
/// that is alone to MPI although its launcher says that it has started several is refused: the launcher is another
/// MPI's.
///
/// `met` is called when the ranks can communicate through host memory, before their GPUs are joined: what may hang or
/// fail on one rank alone can be watched then.
std::unique_ptr<Communicator> make_communicator(const std::string& device,
                                                const std::function<void(Communicator& ranks)>& met = {});
/// True if mpirun, Hydra or srun started this process as a rank.
bool started_by_mpi();
/// Of each rank, where its GPU sits, and on which host: ranks share one where these are equal, whatever its number (a
/// rank may see its own alone: srun --gpus-per-task=1). Collective; every rank has a GPU.
std::vector<std::string> gpu_places(Communicator& communicator);
/// The MPI library that this program uses, and its version: "Open MPI v4.1.4".
std::string mpi_name();
/// True if that is Open MPI, whose launcher is mpirun. MPICH, and what is made from it (Intel's, Cray's), have Hydra.
bool is_open_mpi();
/// Removes from the environment what the launcher of an outer process has told it, or its shell: a process that starts
/// from here on works alone.
void forget_launcher();

}  // namespace couplet
