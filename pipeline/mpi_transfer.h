// Non-blocking MPI operations on one tensor's memory.
#pragma once

#include "pipeline/pending_collective.h"

#include <ATen/core/Tensor.h>
#include <mpi.h>

#include <vector>

namespace couplet {

class MpiTransfer final : public PendingCollective {
public:
  /// `host` is what MPI reads and writes. At the end `result`, a view of the caller's tensor, gets the values of
  /// `host_result`, a view of `host`, unless it is the same memory.
  MpiTransfer(at::Tensor host, at::Tensor host_result, at::Tensor result, const char* operation, int rank)
      : host_(std::move(host)),
        host_result_(std::move(host_result)),
        result_(std::move(result)),
        operation_(operation),
        rank_(rank) {}
  ~MpiTransfer() override;
  MpiTransfer(const MpiTransfer&) = delete;
  MpiTransfer& operator=(const MpiTransfer&) = delete;

  /// For one more non-blocking MPI call, all of which are made before the first `test`.
  MPI_Request* add_request();
  bool test() override;
  void wait() override;

private:
  at::Tensor host_, host_result_, result_;
  std::vector<MPI_Request> requests_;
  const char* operation_;
  int rank_;
  bool arrived_ = false;  ///< in host memory
  bool done_ = false;
};

}  // namespace couplet
