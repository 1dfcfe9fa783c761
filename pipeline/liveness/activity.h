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
  std::int64_t number = 0;  ///< counts the calls of a rank from 1: equal numbers are the same call
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

/// What a rank does. `alone`: it does something that the other ranks wait for (WorkingAlone).
struct Activity {
  enum class State { computing, alone, waiting, ended };
  State state = State::computing;
  double seconds = 0;            ///< how long it has been in this state; progress that it notes starts them anew
  std::int64_t collectives = 0;  ///< how many collectives it has entered so far
  std::int64_t waits_for = 0;    ///< the number of the collective that it waits in
  std::string what;              ///< waiting: the call; alone: the work
  std::string step;              ///< the progress that it noted last
  double rate = 0;               ///< units of work that all ranks of the job make a second; 0: not noted
};

/// The activity of this process: of its thread that makes the collective calls.
Activity current_activity();

/// Notes that this rank gets on: "step 12 of 400". A rank that others wait for may compute for at most pipeline.timeout
/// without noting progress.
void note_progress(const std::string& step);
/// Notes that it gets on with what it noted last. Any thread that works for it may call this.
void note_progress();
/// Notes how many units of its work (shards) all ranks of this job make a second.
void note_rate(double units_a_second);

/// Counts one more call.
CollectiveCall enter_collective(const char* operation, const at::Tensor* tensor = nullptr, int root = -1);

/// While it lives, this rank waits in a collective.
class Waiting {
public:
  explicit Waiting(const CollectiveCall& call);
  ~Waiting();
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;
};

/// Adds a collective that goes on without this rank's thread (NCCL). Until `done` returns true, which any thread may
/// call, the rank counts as waiting in it, whatever else it does. Such collectives end in the order of these calls.
void watch_collective(const CollectiveCall& call, std::function<bool()> done);

/// While it lives, the other ranks wait for this one however long it takes, as long as its process gives signs of life.
/// It is for work that one rank does alone and whose steps take too long to be noted. The thread that makes the
/// collective calls makes it; they nest.
class WorkingAlone {
public:
  /// `what` says at what: "hashing the teacher's weights".
  explicit WorkingAlone(std::string what);
  ~WorkingAlone();
  WorkingAlone(const WorkingAlone&) = delete;
  WorkingAlone& operator=(const WorkingAlone&) = delete;
};

/// Counts the seconds of what this rank does from now on: its process was stopped for a while (SIGSTOP, a suspended
/// job).
void restart_activity_clock();

}  // namespace couplet
