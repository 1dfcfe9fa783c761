#include "pipeline/liveness/absence.h"

#include "storage/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <span>

namespace couplet {
namespace {

using State = Activity::State;

std::string process_text(const Heartbeat& heartbeat) {
  return fmt::format("process {} on {}", heartbeat.process, heartbeat.host);
}

/// Why this rank keeps the waiter from going on; nothing if it does not, or may.
std::optional<std::string> failing(const RankView& view, std::int64_t number, const Patience& patience) {
  if (!view.heartbeat)
    return view.silent >= patience.silent() ? std::optional<std::string>("it has never given a sign of life")
                                            : std::nullopt;
  const Heartbeat& heartbeat = *view.heartbeat;
  const Activity& activity = heartbeat.activity;
  const std::string step = activity.step.empty() ? "" : fmt::format(" ({})", activity.step);
  const bool arrived = activity.collectives >= number;
  if (activity.state == State::ended)
    return arrived ? std::nullopt : std::optional(fmt::format("{} has come to its end", process_text(heartbeat)));
  if (view.silent >= patience.silent())
    return fmt::format("{} gives no sign of life (it is stopped or hangs, or its host is gone){}",
                       process_text(heartbeat), step);
  if (activity.state == State::computing && activity.seconds >= patience.compute())
    return fmt::format("{} has been computing for {}{}{}", process_text(heartbeat), duration_text(activity.seconds),
                       arrived ? " since it started it" : "", step);
  return std::nullopt;
}

/// A rank that waits elsewhere, when nobody else is to blame.
std::optional<std::string> elsewhere(const RankView& view, std::int64_t number) {
  const Activity& activity = view.heartbeat->activity;
  if (activity.state != State::waiting || activity.waits_for >= number) return std::nullopt;
  return fmt::format("{} waits in {} (collective {})", process_text(*view.heartbeat), activity.what,
                     activity.waits_for);
}

/// It has no more to do for what the others wait for.
bool has_come(const RankView& view, const Patience& patience) {
  if (!view.heartbeat) return false;
  const Activity& activity = view.heartbeat->activity;
  return activity.state == State::ended || (activity.state == State::waiting && activity.seconds >= patience.compute());
}

struct Missing {
  int rank;
  std::string reason;
};

/// "rank 2 did not arrive at X (collective 17) within 10m 00s: ...; rank 3 ..."
std::string absence_text(const std::vector<Missing>& missing, const Activity& waiter, const Patience& patience) {
  constexpr std::size_t named = 3;
  std::string text;
  for (const auto& [rank, reason] : std::span(missing).first(std::min(named, missing.size())))
    text += fmt::format("{}rank {} did not arrive at {} (collective {}) within {}: {}", text.empty() ? "" : "; ", rank,
                        waiter.what, waiter.waits_for, duration_text(patience.timeout), reason);
  if (missing.size() > named) text += fmt::format("; {} more ranks did not either", missing.size() - named);
  return text;
}

}  // namespace

std::optional<std::string> reason_to_end(const Heartbeat& waiter, const std::vector<RankView>& others,
                                         const Patience& patience) {
  const Activity& own = waiter.activity;
  const auto collect = [&](const auto& reason_of) {
    std::vector<Missing> missing;
    for (const RankView& view : others)
      if (auto reason = reason_of(view)) missing.push_back({view.rank, std::move(*reason)});
    return missing;
  };
  std::vector<Missing> missing = collect([&](const RankView& view) { return failing(view, own.waits_for, patience); });
  if (missing.empty()) {
    if (!std::ranges::all_of(others, [&](const RankView& view) { return has_come(view, patience); }))
      return std::nullopt;
    missing = collect([&](const RankView& view) { return elsewhere(view, own.waits_for); });
  }
  if (!missing.empty()) return absence_text(missing, own, patience);
  return fmt::format(
      "all ranks have arrived at {} (collective {}), or wait in a later one, and it has not ended within {}: the "
      "network or MPI is stuck",
      own.what, own.waits_for, duration_text(patience.timeout));
}

}  // namespace couplet
