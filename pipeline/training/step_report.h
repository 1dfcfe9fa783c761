// What the ranks report to each other once a step, in one small collective.
#pragma once

#include "pipeline/distributed/communicator.h"

#include <cstdint>
#include <exception>
#include <functional>
#include <string>
#include <vector>

namespace couplet {

/// One rank's step. There are equally many losses on all ranks, and equally many squares.
struct StepReport {
  std::vector<double> losses;   ///< the mean over the rows of each of its gradient groups
  std::vector<double> squares;  ///< the sum of the squares of each of its parts of the summed gradient
  std::uint64_t digest = 0;     ///< of its rows
  bool stop = false;            ///< the rank was asked to stop
  std::exception_ptr error;     ///< why its step could not be computed

  /// Runs this rank's own work, and keeps an error until all ranks know of it.
  void run(const std::function<void()>& work);
};

/// What all ranks know after a step; equal on all of them.
struct AgreedStep {
  double loss = 0;  ///< the mean over the gradient groups, summed in their order, or the first that is not finite
  double gradient_norm = 0;  ///< of the summed gradient; its squares are summed in the order of the parts
  std::uint64_t digest = 0;  ///< of the global batch
  bool stop = false;         ///< some rank was asked to stop
  int nonfinite_rank = -1;   ///< the rank of that loss; -1: all are finite
};

/// Gathers the ranks' reports. If a rank's step could not be computed, that rank throws its own error and the others
/// throw one that names it. Collective.
AgreedStep agree(const StepReport& mine, const std::string& task, std::int64_t step, Communicator& communicator);

}  // namespace couplet
