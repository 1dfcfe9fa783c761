#include "pipeline/liveness/job_heartbeats.h"

#include <map>
#include <utility>

namespace couplet {

JobHeartbeats::JobHeartbeats(HeartbeatFiles files, std::shared_ptr<NodeMemory> memory,
                             const std::vector<std::string>& identities, int rank)
    : files_(std::move(files)), memory_(std::move(memory)), rank_(rank) {
  std::map<std::string, std::size_t> indices;
  for (std::size_t other = 0; other < identities.size(); ++other) {
    const auto [found, added] = indices.emplace(identities[other], nodes_.size());
    if (added) nodes_.emplace_back();
    nodes_[found->second].push_back(static_cast<int>(other));
  }
  node_ = indices.at(memory_->identity());
}

bool JobHeartbeats::take_turn(Time now, double seconds) {
  if (!memory_->take_turn(now, seconds)) return false;
  write();
  const bool alone = nodes_.size() == 1 && nodes_[0].size() == 1;
  if (!alone && files_.end_announced()) memory_->note_end();
  return true;
}

void JobHeartbeats::leave(const Heartbeat& last) {
  tell(last);
  // Another rank may write what it read before: who writes last finds that nobody has told more meanwhile.
  constexpr int most = 5;
  for (int i = 0; i < most; ++i) {
    const std::string texts = node_texts();
    files_.write(nodes_[node_].front(), texts);
    if (texts == node_texts()) return;
  }
}

std::vector<Heartbeat> JobHeartbeats::read(std::size_t node) const {
  return node == node_ ? files_.parse(node_texts()) : files_.read(nodes_[node].front());
}

}  // namespace couplet
