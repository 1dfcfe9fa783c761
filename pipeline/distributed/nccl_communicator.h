// The communicator of CUDA tensors over NCCL, beside MPI for CPU tensors.
#pragma once

#include "pipeline/distributed/mpi_communicator.h"

#include <memory>

namespace couplet {

/// Collective. CUDA can be used (find_cuda), and every rank has a GPU of its own on its host.
std::unique_ptr<Communicator> make_nccl_communicator(std::unique_ptr<MpiCommunicator> mpi);

}  // namespace couplet
