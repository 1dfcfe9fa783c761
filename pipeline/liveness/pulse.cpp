#include "pipeline/liveness/pulse.h"

#include "storage/host_name.h"
#include "storage/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <limits>

namespace couplet {

namespace {

using State = Activity::State;

double silence(const RankRecord& record, double now) {
  return std::max(0.0, now - record.time);
}

/// For how long it has been at what it is at.
double duration(const RankRecord& record, double now) {
  return record.activity.seconds + silence(record, now);
}

std::string who(const RankRecord& record) {
  return fmt::format("rank {} (process {} on {})", record.rank, record.process, record.host);
}

std::string what(const RankRecord& record) {
  const Activity& activity = record.activity;
  const std::string step = activity.step.empty() ? "" : fmt::format(" ({})", activity.step);
  switch (activity.state) {
    case State::waiting:
      return fmt::format("waiting in {} (collective {}){}", activity.what, activity.waits_for, step);
    case State::busy:
      return activity.what + step;
    case State::computing:
      return "computing" + step;
    case State::ended:
      break;
  }
  return "at its end";
}

/// It ran on this host, where no such process is left: it was killed.
bool is_gone(const RankRecord& record) {
  if (record.host != host_name() || record.process <= 0) return false;
  return ::kill(static_cast<pid_t>(record.process), 0) != 0 && errno == ESRCH;
}

/// The one of these ranks that `value` is largest for.
template <class Value>
const RankRecord& largest(const std::vector<RankRecord>& ranks, const Value& value) {
  return *std::ranges::max_element(ranks, {}, value);
}

}  // namespace

std::string activity_text(const RankRecord& record, double now) {
  if (record.activity.state == State::ended) return fmt::format("{} has come to its end", who(record));
  return fmt::format("{} has been {} for {}", who(record), what(record), duration_text(duration(record, now)));
}

double Pulse::age(double now) const {
  double age = std::numeric_limits<double>::max();
  for (const RankRecord& record : ranks) age = std::min(age, silence(record, now));
  return age;
}

bool Pulse::alive(double now, const PulseLimits& limits) const {
  return std::ranges::any_of(ranks, [&](const RankRecord& record) {
    return record.activity.state != State::ended && silence(record, now) < limits.silent && !is_gone(record);
  });
}

std::string Pulse::trouble(double now, const PulseLimits& limits) const {
  std::vector<RankRecord> silent, slow, waiting;
  bool moving = false;
  for (const RankRecord& record : ranks) {
    const State state = record.activity.state;
    if (state == State::ended) continue;
    if (silence(record, now) >= limits.silent)
      silent.push_back(record);
    else if (state == State::busy || duration(record, now) < limits.slow)
      moving = true;
    else
      (state == State::waiting ? waiting : slow).push_back(record);
  }
  if (!silent.empty()) {
    const RankRecord& record = largest(silent, [&](const RankRecord& one) { return silence(one, now); });
    return fmt::format("{} has given no sign of life for {}; it was {}", who(record),
                       duration_text(silence(record, now)), what(record));
  }
  const auto time = [&](const RankRecord& record) { return duration(record, now); };
  if (!slow.empty()) return activity_text(largest(slow, time), now);
  if (!waiting.empty() && !moving) return fmt::format("all ranks wait: {}", activity_text(largest(waiting, time), now));
  return "";
}

}  // namespace couplet
