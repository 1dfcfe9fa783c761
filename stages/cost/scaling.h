// How long a stage takes on a number of GPUs, by its load and the machine's figures, and what keeps it from taking
// less.
#pragma once

#include "stages/cost/machine.h"
#include "stages/cost/stage_load.h"

#include <string>
#include <vector>

namespace couplet {

/// A part of a stage's time, in seconds; `what` says it to people, as the reason why a stage is not faster.
struct TimePart {
  std::string what;
  double seconds = 0;
};

struct StageTime {
  double computing = 0;         ///< that all products would take on these GPUs at the machine's share of the peak
  std::vector<TimePart> parts;  ///< what it waits for besides; they add up

  double all() const;
  double efficiency() const { return all() > 0 ? computing / all() : 1; }
  /// The largest part; none where there is no part.
  TimePart largest() const;
};

/// Of a model of transformers; their kernels are counted by their tensors.
StageTime time_of(const StageLoad& load, const Machine& machine, bool overlap);

/// The time of one all-reduce of so many bytes.
double all_reduce_seconds(double bytes, std::int64_t ranks, const Machine& machine);
/// What of the reductions of a step is not hidden behind a backward pass of `backward` seconds: buckets are ready one
/// after the other, as their bytes are done, and are reduced in their order. Without overlap all of it is not.
double exposed_seconds(const std::vector<double>& bucket_bytes, double backward, std::int64_t ranks,
                       const Machine& machine, bool overlap);

}  // namespace couplet
