// Checkpoints written while training goes on.
#pragma once

#include "pipeline/checkpoint/checkpoint.h"

#include <functional>
#include <future>

namespace couplet {

/// Writes one checkpoint at a time on a thread of rank 0. The destructor waits for it.
class CheckpointWriter {
public:
  CheckpointWriter(const CheckpointStore& store, Communicator& communicator)
      : store_(store), communicator_(communicator) {}

  /// Waits for the checkpoint being written; what it was made of may be changed again. If it could not be written,
  /// every rank fails with rank 0's reason. Collective.
  void finish();
  /// After `finish`: writes this one (whose tensors must not change until `finish`), in the background. `first` is
  /// called before, there. Does nothing on ranks other than 0.
  void start(Checkpoint checkpoint, std::function<void()> first);
  /// Throws why the checkpoint could not be written, if that is known by now; only on rank 0.
  void rethrow_failure();

private:
  const CheckpointStore& store_;
  Communicator& communicator_;
  std::future<void> writing_;
};

}  // namespace couplet
