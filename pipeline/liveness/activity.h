// What this rank does at the moment, for the other ranks' watchdogs and for people.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace couplet {

/// One collective call.
struct CollectiveCall {
  std::int64_t number = 0;  ///< counted from 1 on each rank: equal numbers are the same call
  const char* operation = "";
  bool has_tensor = false;
  at::ScalarType type = at::kFloat;
  std::vector<std::int64_t> sizes;
  int root = -1;  ///< -1: it has none

  CollectiveCall() = default;
  CollectiveCall(const char* operation, const at::Tensor* tensor, int root);
  /// "all_reduce of Float [3, 4]"
  std::string text() const;
};

struct Activity {
  enum class State { computing, busy, waiting, ended };
  State state = State::computing;
  double seconds = 0;            ///< for how long; progress noted meanwhile starts it anew
  std::int64_t collectives = 0;  ///< entered so far
  std::int64_t waits_for = 0;    ///< number of the collective it waits in
  std::string what;              ///< waiting: the call; busy: with what
  std::string step;              ///< the progress noted last
  double rate = 0;               ///< units of work that all ranks of the job make a second; 0: not noted
};

/// Of this process: its ranks' thread that makes the collective calls.
Activity current_activity();

/// Says that this rank gets on: "step 12 of 400". A rank that others wait for may compute for pipeline.timeout without
/// saying so.
void note_progress(const std::string& step);

/// Says how many units of its work (shards) all ranks of this job make a second.
void note_rate(double units_a_second);

/// Counts one more call.
CollectiveCall enter_collective(const char* operation, const at::Tensor* tensor = nullptr, int root = -1);

/// For its lifetime this rank waits in a collective.
class Waiting {
public:
  explicit Waiting(const CollectiveCall& call);
  ~Waiting();
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;
};

/// A collective that goes on without this rank's thread (NCCL): until `done`, which any thread may call, says so, the
/// rank waits in it whatever else it does. In the order in which they end.
void watch_collective(const CollectiveCall& call, std::function<bool()> done);

/// For its lifetime the others wait for this rank however long it takes, as long as its process gives a sign of life:
/// for work that one rank does alone, whose steps are too long to be noted. By the thread that makes the collective
/// calls; they nest.
class Busy {
public:
  /// "hashing the teacher's weights"
  explicit Busy(std::string what);
  ~Busy();
  Busy(const Busy&) = delete;
  Busy& operator=(const Busy&) = delete;
};

/// This process was stopped for a while (SIGSTOP, a suspended job): what it does is counted from now on.
void restart_activity_clock();

}  // namespace couplet
