// MPI as a resource of the process, which is initialised and finalised once and whose every return code is looked at,
// and its non-blocking operations on the memory of a tensor.
#pragma once

#include "pipeline/distributed/communicator.h"
#include "pipeline/liveness/activity.h"

#include <ATen/core/Tensor.h>
#include <mpi.h>

#include <functional>
#include <utility>
#include <vector>

namespace couplet {

/// Initialises MPI on the first call. It is finalised when the program exits (not by abort_all).
void start_mpi();

/// Throws Error with MPI's text if `code` is not MPI_SUCCESS; `operation` and `rank` are named in it.
void check_mpi(int code, const char* operation, int rank);

/// Non-blocking MPI calls that together move one tensor.
class MpiTransfer final : public PendingCollective {
public:
  /// `buffers` are what MPI reads and writes meanwhile. `wait` calls `finish` when all has arrived there.
  MpiTransfer(CollectiveCall call, std::vector<at::Tensor> buffers, std::function<void()> finish, int rank)
      : call_(std::move(call)), buffers_(std::move(buffers)), finish_(std::move(finish)), rank_(rank) {}
  ~MpiTransfer() override;
  MpiTransfer(const MpiTransfer&) = delete;
  MpiTransfer& operator=(const MpiTransfer&) = delete;

  /// The request of one more non-blocking MPI call. All of them are made before the first `test`.
  MPI_Request* add_request();
  bool test() override;
  void wait() override;

private:
  CollectiveCall call_;
  std::vector<at::Tensor> buffers_;
  std::function<void()> finish_;
  std::vector<MPI_Request> requests_;
  int rank_;
  bool arrived_ = false;
  bool done_ = false;
};

}  // namespace couplet
