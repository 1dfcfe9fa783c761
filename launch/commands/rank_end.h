// How a command that runs on several ranks ends when one of them fails.
#pragma once

#include "pipeline/distributed/communicator.h"

#include <functional>

namespace couplet {

/// Which rank a process is, for messages. Until there is a communicator, what started the process says so.
struct RankIdentity {
  int rank = 0, ranks = 1;
};

/// Runs `work`, which fills in the identity when it knows more, and returns the exit status. What it throws is printed
/// and ends all ranks; rank 0 alone prints what all ranks meet.
int run_rank(const std::function<int(RankIdentity& identity)>& work);

/// Runs `work`, which fails on all ranks alike if it fails: rank 0 throws the error, the others return its exit status,
/// so that it is printed once.
int run_alike(const Communicator& communicator, const std::function<int()>& work);

}  // namespace couplet
