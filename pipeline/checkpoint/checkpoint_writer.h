// Checkpoints that are written while training goes on.
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

  /// Waits for the checkpoint that is being written; afterwards what it was made of may be changed again. If it could
  /// not be written, every rank fails with rank 0's reason. Collective.
  void finish();
  /// Calls `first`, then writes this checkpoint, both in the background. It comes after `finish`, and the tensors must
  /// not change until the next `finish`. On ranks other than 0 it does nothing.
  void start(Checkpoint checkpoint, std::function<void()> first);
  /// Throws why the checkpoint could not be written, if that is known by now; it is known on rank 0 only.
  void rethrow_failure();

private:
  const CheckpointStore& store_;
  Communicator& communicator_;
  std::future<void> writing_;
};

}  // namespace couplet
