#include "pipeline/liveness/activity.h"

#include "pipeline/liveness/collective_counts.h"
#include "storage/clock.h"

#include <fmt/ranges.h>

#include <chrono>
#include <deque>
#include <mutex>
#include <utility>

namespace couplet {
namespace {

using Clock = std::chrono::steady_clock;

/// A collective that goes on without a thread of ours.
struct Unattended {
  CollectiveCall call;
  std::function<bool()> done;
  Clock::time_point since;  ///< nothing before it was under way any more
};

struct Monitor {
  std::mutex mutex;
  Clock::time_point since = Clock::now();
  std::int64_t collectives = 0;
  std::map<std::string, CollectiveCount> counts;
  bool waiting = false;
  CollectiveCall call;  ///< the one it waits in
  std::deque<Unattended> unattended;
  std::vector<std::string> busy;
  std::string step;
  double rate = 0;

  void forget_done() {
    while (!unattended.empty() && unattended.front().done()) {
      unattended.pop_front();
      if (!unattended.empty()) unattended.front().since = Clock::now();
    }
  }
};

/// Never destroyed: threads may still work at the program's end.
Monitor& monitor() {
  static auto* const monitor = new Monitor;
  return *monitor;
}

void add_call(Monitor& now, const char* operation, std::int64_t bytes) {
  CollectiveCount& count = now.counts[operation];
  ++count.calls;
  count.bytes += bytes;
}

template <class Change>
void change(Change change) {
  Monitor& now = monitor();
  const std::scoped_lock lock(now.mutex);
  change(now);
  now.since = Clock::now();
}

}  // namespace

CollectiveCall::CollectiveCall(const char* call, const at::Tensor* tensor, int root_rank)
    : operation(call), root(root_rank) {
  if (!tensor) return;
  has_tensor = true;
  type = tensor->scalar_type();
  sizes = tensor->sizes().vec();
}

std::string CollectiveCall::text() const {
  std::string text = operation;
  if (has_tensor) text += fmt::format(" of {} [{}]", c10::toString(type), fmt::join(sizes, ", "));
  if (root >= 0) text += fmt::format(" from rank {}", root);
  return text;
}

Activity current_activity() {
  Monitor& now = monitor();
  const std::scoped_lock lock(now.mutex);
  now.forget_done();
  Activity activity;
  activity.seconds = seconds_since(now.since);
  activity.collectives = now.collectives;
  activity.step = now.step;
  activity.rate = now.rate;
  if (now.waiting || !now.unattended.empty()) {
    const CollectiveCall& call = now.waiting ? now.call : now.unattended.front().call;
    if (!now.waiting) activity.seconds = seconds_since(now.unattended.front().since);
    activity.state = Activity::State::waiting;
    activity.waits_for = call.number;
    activity.what = call.text();
  } else if (!now.busy.empty()) {
    activity.state = Activity::State::alone;
    activity.what = now.busy.back();
  }
  return activity;
}

void note_progress(const std::string& step) {
  change([&](Monitor& now) { now.step = step; });
}

void note_progress() {
  change([](Monitor&) {});
}

void note_rate(double units_a_second) {
  change([&](Monitor& now) { now.rate = units_a_second; });
}

CollectiveCall enter_collective(const char* operation, const at::Tensor* tensor, int root) {
  CollectiveCall call(operation, tensor, root);
  change([&](Monitor& now) {
    call.number = ++now.collectives;
    add_call(now, operation, tensor ? static_cast<std::int64_t>(tensor->nbytes()) : 0);
  });
  return call;
}

std::map<std::string, CollectiveCount> collective_counts() {
  Monitor& now = monitor();
  const std::scoped_lock lock(now.mutex);
  return now.counts;
}

void count_collective(const char* operation, std::int64_t bytes) {
  Monitor& now = monitor();
  const std::scoped_lock lock(now.mutex);
  add_call(now, operation, bytes);
}

Waiting::Waiting(const CollectiveCall& call) {
  change([&](Monitor& now) {
    now.waiting = true;
    now.call = call;
  });
}

Waiting::~Waiting() {
  change([](Monitor& now) { now.waiting = false; });
}

WorkingAlone::WorkingAlone(std::string what) {
  change([&](Monitor& now) { now.busy.push_back(std::move(what)); });
}

WorkingAlone::~WorkingAlone() {
  change([](Monitor& now) { now.busy.pop_back(); });
}

void watch_collective(const CollectiveCall& call, std::function<bool()> done) {
  Monitor& now = monitor();
  const std::scoped_lock lock(now.mutex);
  now.forget_done();
  now.unattended.push_back({call, std::move(done), Clock::now()});
}

void restart_activity_clock() {
  change([](Monitor& now) {
    for (Unattended& one : now.unattended) one.since = Clock::now();
  });
}

}  // namespace couplet
