// The sum of the ranks' gradients. Buckets are reduced while the backward pass still computes those of earlier layers,
// where one pass computes all of a rank's rows.
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
  double under_way = 0;  ///< while some reduction was going on
  double stall = 0;      ///< while computing stood still for it, inside the communicator's calls

  /// Counts work during which nothing is computed.
  void add(double seconds) {
    under_way += seconds;
    stall += seconds;
  }
};

/// How a step's buckets are reduced.
struct ReductionOptions {
  Share share;             ///< the part of each bucket whose sum this rank needs; the rest is undefined afterwards
  bool overlap = true;     ///< a bucket is started as soon as the backward pass is done with it
  bool in_a_tree = false;  ///< sum_in_tree adds up, after the backward pass, instead of the communicator
};

/// Starts every bucket once a step, in the order of the buckets, on every rank, whatever its computation does, so that
/// no rank waits for one that failed.
class GradientReduction {
public:
  GradientReduction(const FlatParameters& parameters, const ReductionOptions& options, Communicator& communicator);
  /// Waits for what is under way.
  ~GradientReduction();
  GradientReduction(const GradientReduction&) = delete;
  GradientReduction& operator=(const GradientReduction&) = delete;

  /// Begins a step.
  void begin();
  /// Expects the backward pass that begins now to be the step's last.
  void follow_backward();
  /// Starts the buckets that the backward pass was not done with (it did not reach their parameters, or failed), then
  /// waits for all buckets.
  void finish();
  /// The times of the step that `finish` ended.
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
  std::vector<std::size_t> missing_;  ///< parameters of each bucket that the backward pass has not reached yet
  std::size_t next_ = 0;              ///< the bucket to start
  std::deque<std::unique_ptr<PendingCollective>> pending_;
  Clock::time_point busy_since_;  ///< since when some are pending
  ReductionTimes times_;
};

}  // namespace couplet
