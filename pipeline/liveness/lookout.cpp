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
  if (others_.empty() || !is_due(waited, now) || !see_all(now) || waited < patience_.wait()) return std::nullopt;
  return reason_to_end(own, others_, patience_);
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

/// Returns false if a lower rank looks at all.
bool Lookout::see_all(Time now) {
  if (!see(heartbeats_.node(), now)) return false;
  for (std::size_t node = 0; node < heartbeats_.nodes().size(); ++node)
    if (node != heartbeats_.node() && !see(node, now)) return false;
  return true;
}

/// Sees one node's ranks. Returns false if one of them looks and is lower than this.
bool Lookout::see(std::size_t node, Time now) {
  const std::vector<Heartbeat> heartbeats = heartbeats_.read(node);
  bool others_look = false;
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
    others_look = others_look || (rank < heartbeats_.rank() && looks(view));
  }
  return !others_look;
}

bool Lookout::looks(const RankView& view) const {
  if (!view.heartbeat || view.silent >= patience_.silent()) return false;
  const Activity& activity = view.heartbeat->activity;
  return activity.state == Activity::State::waiting && activity.seconds >= patience_.timeout / 2;
}

}  // namespace couplet
