#include "pipeline/liveness/lookout.h"

#include <algorithm>
#include <utility>

namespace couplet {

Lookout::Lookout(JobHeartbeats heartbeats, const Patience& patience)
    : heartbeats_(std::move(heartbeats)), patience_(patience) {
  int ranks = 0;
  for (const std::vector<int>& node : heartbeats_.nodes()) ranks += static_cast<int>(node.size());
  for (int rank = 0; rank < ranks; ++rank)
    if (rank != heartbeats_.rank()) others_.push_back({rank, std::nullopt, 0});
  changed_.resize(others_.size());
}

void Lookout::forget() {
  std::ranges::fill(changed_, Time{});
}

std::optional<std::string> Lookout::look(const Heartbeat& own, Time now) {
  const double waited = own.activity.state == Activity::State::waiting ? own.activity.seconds : 0;
  if (others_.empty() || !is_due(waited, now) || !see_all(now)) return std::nullopt;
  return judge(own);
}

/// By the rank that has waited longest: this one may have come to the call later.
std::optional<std::string> Lookout::judge(const Heartbeat& own) const {
  const auto waited = [&](const RankView& view) { return waits(view) ? view.heartbeat->activity.seconds : 0; };
  const auto longest = std::ranges::max_element(others_, {}, waited);
  if (std::max(waited(*longest), own.activity.seconds) < patience_.wait()) return std::nullopt;
  if (waited(*longest) <= own.activity.seconds) return reason_to_end(own, others_, patience_);
  std::vector<RankView> others = others_;
  others[static_cast<std::size_t>(longest - others_.begin())] = {own.rank, own, 0};
  return reason_to_end(*longest->heartbeat, others, patience_);
}

/// From half of the timeout on, at intervals, and as soon as the wait is over.
bool Lookout::is_due(double waited, Time now) {
  if (waited < patience_.timeout / 2) {
    looked_ = {};
    return false;
  }
  const bool first = looked_ == Time{};
  const double since = std::chrono::duration<double>(now - looked_).count();
  const bool just_over = waited >= patience_.wait() && waited - since < patience_.wait();
  if (!first && !just_over && since < patience_.look()) return false;
  if (first) forget();
  looked_ = now;
  return true;
}

/// The own node, those before it, the nearest first, and those behind it. Returns false if a lower rank waits, too.
bool Lookout::see_all(Time now) {
  for (std::size_t node = heartbeats_.node() + 1; node-- > 0;)
    if (!see(node, now)) return false;
  for (std::size_t node = heartbeats_.node() + 1; node < heartbeats_.nodes().size(); ++node)
    if (!see(node, now)) return false;
  return true;
}

/// Sees one node's ranks. Returns false if one of them waits, too, and is lower than this.
bool Lookout::see(std::size_t node, Time now) {
  const std::vector<Heartbeat> heartbeats = heartbeats_.read(node);
  bool lower_waits = false;
  for (const int rank : heartbeats_.nodes()[node]) {
    if (rank == heartbeats_.rank()) continue;
    const auto index = static_cast<std::size_t>(rank < heartbeats_.rank() ? rank : rank - 1);
    RankView& view = others_[index];
    const auto heartbeat = std::ranges::find(heartbeats, rank, &Heartbeat::rank);
    const bool read = heartbeat != heartbeats.end();
    const bool changed = read && (!view.heartbeat || heartbeat->number != view.heartbeat->number);
    if (changed || changed_[index] == Time{}) changed_[index] = now;
    if (read) view.heartbeat = *heartbeat;
    view.silent = std::chrono::duration<double>(now - changed_[index]).count();
    lower_waits = lower_waits || (rank < heartbeats_.rank() && waits(view));
  }
  return !lower_waits;
}

/// For so long that it looks, or looks for a rank that does.
bool Lookout::waits(const RankView& view) const {
  if (!view.heartbeat || view.silent >= patience_.silent()) return false;
  const Activity& activity = view.heartbeat->activity;
  return activity.state == Activity::State::waiting && activity.seconds >= patience_.timeout / 2;
}

}  // namespace couplet
