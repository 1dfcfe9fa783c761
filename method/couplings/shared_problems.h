// Problems that the ranks of a coupling solve for each other, ahead of the steps that need the answers.
#pragma once

#include "pipeline/distributed/communicator.h"
#include "pipeline/loader/prefetch.h"

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <stop_token>
#include <string>
#include <vector>

namespace couplet {

/// Problems are numbered. Of R ranks, rank p mod R owns problem p: it solves it alone, ahead, on a thread of its own,
/// and only the answer travels. No problem is solved twice, and none has to be solved by equal bits.
class SharedProblems {
public:
  struct Rules {
    std::int64_t answer_size = 0;
    /// What a problem is, before an error: "the coupling of step 3".
    std::function<std::string(std::int64_t problem)> name;
    /// Returns the answer to a problem, `answer_size` numbers. Called on the thread that solves, for the problems that
    /// this rank owns in their order. What it returns or throws after `stop` was requested does not matter.
    std::function<std::vector<std::int64_t>(std::int64_t problem, const std::stop_token& stop)> solve;
    /// The last problem before this one whose answer must have been put to use before this one is solved. Optional:
    /// without it no problem depends on another.
    std::function<std::int64_t(std::int64_t problem)> after;
  };

  /// Solving begins, with problem `first`.
  SharedProblems(Communicator& communicator, std::int64_t first, Rules rules);
  /// Requests a stop, and waits for the problem that is being solved.
  ~SharedProblems() { stop_.request_stop(); }
  SharedProblems(const SharedProblems&) = delete;
  SharedProblems& operator=(const SharedProblems&) = delete;

  /// The number of the problem that `next` answers.
  std::int64_t number() const { return next_; }
  /// Returns the answer to the next problem on every rank. `digest` is of what the ranks must have in common before
  /// they use it; one that differs is an error. An error of the owner's is thrown on all ranks. Collective.
  std::vector<std::int64_t> next(std::uint64_t digest = 0);
  /// The answers so far are in use: problems that depend on them may be solved.
  void settle();

private:
  std::vector<std::int64_t> solve_when_ready(std::int64_t problem);

  Communicator& communicator_;
  Rules rules_;
  std::int64_t next_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::int64_t settled_;  ///< all problems below it
  std::stop_source stop_;
  Prefetch<std::vector<std::int64_t>> own_;  // last: its thread uses all of the above
};

}  // namespace couplet
