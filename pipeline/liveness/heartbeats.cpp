#include "pipeline/liveness/heartbeats.h"

#include "storage/host_name.h"
#include "storage/local_process.h"
#include "storage/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

namespace couplet {

namespace {

using State = Activity::State;

double silence(const Heartbeat& heartbeat, double now) {
  return std::max(0.0, now - heartbeat.time);
}

/// For how long it has been at what it is at.
double duration(const Heartbeat& heartbeat, double now) {
  return heartbeat.activity.seconds + silence(heartbeat, now);
}

std::string who(const Heartbeat& heartbeat) {
  return fmt::format("rank {} (process {} on {})", heartbeat.rank, heartbeat.process, heartbeat.host);
}

std::string what(const Heartbeat& heartbeat) {
  const Activity& activity = heartbeat.activity;
  const std::string step = activity.step.empty() ? "" : fmt::format(" ({})", activity.step);
  switch (activity.state) {
    case State::waiting:
      return fmt::format("waiting in {} (collective {}){}", activity.what, activity.waits_for, step);
    case State::alone:
      return activity.what + step;
    case State::computing:
      return "computing" + step;
    case State::ended:
      break;
  }
  return "at its end";
}

/// It ran on this host, where no such process runs any more: it was killed.
bool is_gone(const Heartbeat& heartbeat) {
  return heartbeat.host == host_name() && heartbeat.process > 0 && !process_runs(heartbeat.process);
}

/// The one of these ranks that `value` is largest for.
template <class Value>
const Heartbeat& largest(const std::vector<Heartbeat>& ranks, const Value& value) {
  return *std::ranges::max_element(ranks, {}, value);
}

}  // namespace

std::string activity_text(const Heartbeat& heartbeat, double now) {
  if (heartbeat.activity.state == State::ended) return fmt::format("{} has come to its end", who(heartbeat));
  return fmt::format("{} has been {} for {}", who(heartbeat), what(heartbeat), duration_text(duration(heartbeat, now)));
}

double Heartbeats::age(double now) const {
  double age = std::numeric_limits<double>::max();
  for (const Heartbeat& heartbeat : ranks) age = std::min(age, silence(heartbeat, now));
  return age;
}

bool Heartbeats::alive(double now, const HeartbeatLimits& limits) const {
  return std::ranges::any_of(ranks, [&](const Heartbeat& heartbeat) {
    return heartbeat.activity.state != State::ended && silence(heartbeat, now) < limits.silent && !is_gone(heartbeat);
  });
}

std::string Heartbeats::trouble(double now, const HeartbeatLimits& limits) const {
  std::vector<Heartbeat> silent, slow, waiting;
  bool moving = false;
  for (const Heartbeat& heartbeat : ranks) {
    const State state = heartbeat.activity.state;
    if (state == State::ended) continue;
    if (silence(heartbeat, now) >= limits.silent)
      silent.push_back(heartbeat);
    else if (state == State::alone || duration(heartbeat, now) < limits.slow)
      moving = true;
    else
      (state == State::waiting ? waiting : slow).push_back(heartbeat);
  }
  if (!silent.empty()) {
    const Heartbeat& heartbeat = largest(silent, [&](const Heartbeat& one) { return silence(one, now); });
    return fmt::format("{} has given no sign of life for {}; it was {}", who(heartbeat),
                       duration_text(silence(heartbeat, now)), what(heartbeat));
  }
  const auto time = [&](const Heartbeat& heartbeat) { return duration(heartbeat, now); };
  if (!slow.empty()) return activity_text(largest(slow, time), now);
  if (!waiting.empty() && !moving) return fmt::format("all ranks wait: {}", activity_text(largest(waiting, time), now));
  return "";
}

}  // namespace couplet
