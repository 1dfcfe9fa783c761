// The heartbeats of a job's ranks, as one of them tells its own and reads the others'.
#pragma once

#include "pipeline/liveness/heartbeat_files.h"
#include "pipeline/liveness/node_memory.h"

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace couplet {

/// Every rank tells its heartbeats to the ranks of its node, through their memory; whichever of them finds that it is
/// time writes those of all to the node's file, and looks whether an end has been announced. So the file system has as
/// much to do as there are nodes, and no rank's end, the writer's neither, silences another.
class JobHeartbeats {
public:
  using Time = std::chrono::steady_clock::time_point;

  /// `memory` has a place for each rank of the job; `identities` are those of all ranks' memory, in their order.
  JobHeartbeats(HeartbeatFiles files, std::shared_ptr<NodeMemory> memory, const std::vector<std::string>& identities,
                int rank);
  int rank() const { return rank_; }
  const std::filesystem::path& directory() const { return files_.directory(); }
  /// The ranks of each node, both in the order of the ranks.
  const std::vector<std::vector<int>>& nodes() const { return nodes_; }
  /// The index of this rank's node.
  std::size_t node() const { return node_; }

  /// Tells the node's ranks.
  void tell(const Heartbeat& heartbeat) { memory_->put(rank_, heartbeat_text(heartbeat, files_.job())); }
  /// Writes the node's file. Returns false if it cannot be written, with the reason in errno.
  bool write() const { return files_.write(nodes_[node_].front(), node_texts()); }
  /// Does what one of the node's ranks does every `seconds`, if this is the first that comes to it: writes the file and
  /// looks whether an end has been announced. Returns true if it was.
  bool take_turn(Time now, double seconds);
  /// Tells this rank's last heartbeat. The node's last rank writes it at once; for the others someone's next turn does.
  void leave(const Heartbeat& last, Time now, double seconds);
  /// Why this rank could not write the node's file when it last tried; "" if it could.
  const std::string& trouble() const { return trouble_; }

  /// The heartbeats of a node's ranks: from its file, and of the own node from memory.
  std::vector<Heartbeat> read(std::size_t node) const;

  /// Announces once why all ranks are to end. Returns true to the caller who is first.
  bool announce_end(const std::string& reason) const { return files_.announce_end(reason); }
  /// True if a rank of this node has found in its turn that an end is announced.
  bool end_announced() const { return memory_->end_noted(); }

private:
  void write_or_note();
  std::string node_texts() const { return memory_->texts(nodes_[node_]); }

  HeartbeatFiles files_;
  std::shared_ptr<NodeMemory> memory_;
  std::vector<std::vector<int>> nodes_;
  std::size_t node_ = 0;
  int rank_;
  std::string trouble_;
};

}  // namespace couplet
