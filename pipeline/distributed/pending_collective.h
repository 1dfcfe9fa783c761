// A collective that goes on while its caller computes.
#pragma once

namespace couplet {

/// The tensor must stay untouched until `wait` returns. Dropping it before waits, except while an exception unwinds the
/// stack: the other ranks may never come then, and the buffers are left to the transfer.
class PendingCollective {
public:
  virtual ~PendingCollective() = default;
  /// Lets it progress (MPI moves data only inside calls); true when it is done.
  virtual bool test() = 0;
  /// Returns when the tensor holds its result (CUDA: the current stream waits for it, the host goes on).
  virtual void wait() = 0;
};

}  // namespace couplet
