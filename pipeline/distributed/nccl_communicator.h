// The communicator of CUDA tensors over NCCL, beside MPI for CPU tensors.
#pragma once

#include "pipeline/distributed/mpi_communicator.h"

#include <memory>

namespace couplet {

/// CUDA must be usable (find_cuda), and every rank must have a GPU of its own on its host. Collective.
std::unique_ptr<Communicator> make_nccl_communicator(std::unique_ptr<MpiCommunicator> mpi);

}  // namespace couplet
