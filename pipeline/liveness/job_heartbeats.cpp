#include "pipeline/liveness/job_heartbeats.h"

#include "storage/files/file_handle.h"

#include <cerrno>
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

void JobHeartbeats::write_or_note() {
  trouble_ = write() ? "" : errno_text(errno);
}

bool JobHeartbeats::take_turn(Time now, double seconds) {
  if (!memory_->take_turn(now, seconds)) return false;
  write_or_note();
  const bool alone = nodes_.size() == 1 && nodes_[0].size() == 1;
  if (!alone && files_.end_announced()) memory_->note_end();
  return true;
}

void JobHeartbeats::leave(const Heartbeat& last, Time now, double seconds) {
  tell(last);
  if (memory_->take_turn(now, seconds)) write_or_note();
  // Noted when this rank writes no more: what the last one writes is not written over by what another has read before.
  if (memory_->note_leave() == static_cast<int>(nodes_[node_].size())) write_or_note();
}

std::vector<Heartbeat> JobHeartbeats::read(std::size_t node) const {
  return node == node_ ? files_.parse(node_texts()) : files_.read(nodes_[node].front());
}

}  // namespace couplet
