// What the ranks tell each other once a step, in one small collective.
#pragma once

#include "pipeline/communicator.h"

#include <cstdint>
#include <exception>
#include <functional>
#include <string>

namespace couplet {

/// One rank's step.
struct StepReport {
  double loss = 0;           ///< mean over its rows
  std::uint64_t digest = 0;  ///< of its rows
  bool stop = false;         ///< it was asked to stop
  std::exception_ptr error;  ///< its step could not be computed

  /// Runs this rank's own work, keeping an error until all ranks know of it.
  void run(const std::function<void()>& work);
};

/// The same on every rank.
struct AgreedStep {
  double loss =
      0;  ///< mean over ranks, summed in rank order; of the first rank whose own is not finite, if there is one
  std::uint64_t digest = 0;  ///< of the global batch
  bool stop = false;         ///< some rank was asked to stop
  int nonfinite_rank = -1;
};

/// Collective. If a rank's step could not be computed every rank throws: that one its own error, the others one that
/// names it.
AgreedStep agree(const StepReport& mine, const std::string& task, std::int64_t step, Communicator& communicator);

}  // namespace couplet
