// What the ranks tell each other once a step, in one small collective.
#pragma once

#include "pipeline/distributed/communicator.h"

#include <cstdint>
#include <exception>
#include <functional>
#include <string>
#include <vector>

namespace couplet {

/// One rank's step. Of equal length on all ranks: the losses, and the squares.
struct StepReport {
  std::vector<double> losses;   ///< the mean over the rows of each of its gradient groups
  std::vector<double> squares;  ///< of its parts of the summed gradient, the sum of the squares each
  std::uint64_t digest = 0;     ///< of its rows
  bool stop = false;            ///< it was asked to stop
  std::exception_ptr error;     ///< its step could not be computed

  /// Runs this rank's own work, keeping an error until all ranks know of it.
  void run(const std::function<void()>& work);
};

/// The same on every rank.
struct AgreedStep {
  double loss = 0;  ///< the mean over the gradient groups, summed in their order, or the first that is not finite
  double gradient_norm = 0;  ///< of the summed gradient; its squares are summed in the order of the parts
  std::uint64_t digest = 0;  ///< of the global batch
  bool stop = false;         ///< some rank was asked to stop
  int nonfinite_rank = -1;   ///< of that loss
};

/// Collective. If a rank's step could not be computed every rank throws: that one its own error, the others one that
/// names it.
AgreedStep agree(const StepReport& mine, const std::string& task, std::int64_t step, Communicator& communicator);

}  // namespace couplet
