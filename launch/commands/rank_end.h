// How a command that runs on several ranks ends when one of them fails.
#pragma once

#include <functional>

namespace couplet {

/// Runs `work` and returns its exit status. What it throws ends all ranks within seconds: where all of them have failed
/// (at a missing file, say), each leaves by itself and rank 0 alone tells why; where others go on, this rank tells why
/// and ends them. From MPI's start on that holds, whatever else is being set up.
int run_rank(const std::function<int()>& work);

}  // namespace couplet
