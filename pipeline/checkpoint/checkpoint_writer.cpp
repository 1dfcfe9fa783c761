#include "pipeline/checkpoint/checkpoint_writer.h"

#include "pipeline/distributed/agreement.h"
#include "pipeline/liveness/activity.h"

#include <chrono>
#include <utility>

namespace couplet {

void CheckpointWriter::finish() {
  run_on_all(communicator_, [&] {
    if (!writing_.valid()) return;
    const WorkingAlone alone("writing a checkpoint");
    writing_.get();
  });
}

void CheckpointWriter::start(Checkpoint checkpoint, std::function<void()> first) {
  if (!communicator_.is_root()) return;
  writing_ = std::async(std::launch::async, [this, checkpoint = std::move(checkpoint), first = std::move(first)] {
    first();
    store_.write(checkpoint);
  });
}

void CheckpointWriter::rethrow_failure() {
  if (writing_.valid() && writing_.wait_for(std::chrono::seconds(0)) == std::future_status::ready) writing_.get();
}

}  // namespace couplet
