// The sum of the ranks' gradients, bucket by bucket, while the backward pass still computes those of earlier layers.
#pragma once

#include "pipeline/distributed/communicator.h"
#include "pipeline/optimizer/flat_parameters.h"

#include <chrono>
#include <cstddef>
#include <deque>
#include <memory>
#include <vector>

namespace couplet {

/// Seconds of one step.
struct ReductionTimes {
  double under_way = 0;  ///< some reduction was going on
  double stall = 0;      ///< computing stood still for it: spent in the communicator's calls

  /// Something that nothing is computed beside.
  void add(double seconds) {
    under_way += seconds;
    stall += seconds;
  }
};

/// What a step's reductions do.
struct ReductionOptions {
  Share share;             ///< of each bucket, what this rank needs the sum of; the rest is undefined afterwards
  bool overlap = true;     ///< start a bucket as soon as the backward pass is done with it
  bool in_a_tree = false;  ///< sum_in_tree instead of the communicator's own order; after the backward pass
};

/// Starts every bucket once a step, in the order of the buckets, on every rank, whatever its computation does: so no
/// rank waits for one that failed.
class GradientReduction {
public:
  GradientReduction(const FlatParameters& parameters, const ReductionOptions& options, Communicator& communicator);
  /// Waits for what is under way.
  ~GradientReduction();
  GradientReduction(const GradientReduction&) = delete;
  GradientReduction& operator=(const GradientReduction&) = delete;

  /// A step begins.
  void begin();
  /// The backward pass that begins now is the step's last.
  void follow_backward();
  /// Starts the buckets that the backward pass was not done with (parameters it did not reach, a failure), then waits
  /// for all.
  void finish();
  /// Of the step that `finish` ended.
  const ReductionTimes& times() const { return times_; }

private:
  using Clock = std::chrono::steady_clock;
  class Hook;

  void accumulated(std::size_t bucket);
  void start_next();
  void take_finished(bool wait);

  const FlatParameters& parameters_;
  ReductionOptions options_;
  Communicator& communicator_;
  bool following_ = false;
  std::vector<std::size_t> missing_;  ///< of each bucket: parameters that the backward pass has not reached yet
  std::size_t next_ = 0;              ///< bucket to start
  std::deque<std::unique_ptr<PendingCollective>> pending_;
  Clock::time_point busy_since_;  ///< where some are pending
  ReductionTimes times_;
};

}  // namespace couplet
