#include "pipeline/distributed/mpi.h"

#include "pipeline/distributed/mpi_session.h"

#include <ATen/core/grad_mode.h>

#include <exception>
#include <memory>
#include <utility>

namespace couplet {

MpiTransfer::~MpiTransfer() {
  if (done_) return;
  if (std::uncaught_exceptions() > 0) {
    // MPI goes on writing there until the process ends.
    std::make_unique<std::vector<at::Tensor>>(std::move(buffers_)).release();
    return;
  }
  try {
    wait();
  } catch (const std::exception&) {
    // A failed operation reports itself in the calls that follow, on every rank.
  }
}

MPI_Request* MpiTransfer::add_request() {
  return &requests_.emplace_back(MPI_REQUEST_NULL);
}

bool MpiTransfer::test() {
  if (arrived_) return true;
  int all = 0;
  check_mpi(MPI_Testall(static_cast<int>(requests_.size()), requests_.data(), &all, MPI_STATUSES_IGNORE),
            call_.operation, rank_);
  arrived_ = all != 0;
  return arrived_;
}

void MpiTransfer::wait() {
  if (done_) return;
  if (!arrived_) {
    const Waiting waiting(call_);
    check_mpi(MPI_Waitall(static_cast<int>(requests_.size()), requests_.data(), MPI_STATUSES_IGNORE), call_.operation,
              rank_);
    arrived_ = true;
  }
  const at::NoGradGuard no_grad;
  finish_();
  done_ = true;
}

}  // namespace couplet
