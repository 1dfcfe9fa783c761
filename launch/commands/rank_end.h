// How a command that runs on several ranks ends when one of them fails.
#pragma once

#include "pipeline/distributed/communicator.h"

#include <functional>

namespace couplet {

/// Which rank a process is, for messages: until there is a communicator, by what started it.
struct RankIdentity {
  int rank = 0, ranks = 1;
};

/// Runs `work`, which fills in the identity when it knows more. What it throws is printed, what all ranks meet once, by
/// rank 0, and ends all ranks. Returns the exit status.
int run_rank(const std::function<int(RankIdentity& identity)>& work);

/// Runs `work`, which fails on all ranks alike if it fails: rank 0 throws the error, the others return its exit status,
/// so that it is printed once.
int run_alike(const Communicator& communicator, const std::function<int()>& work);

}  // namespace couplet
