// The files in which the nodes of a job note what their ranks do, for the other nodes and for people to read: small,
// written over in place, on any file system that the nodes share.
#pragma once

#include "pipeline/liveness/heartbeat.h"

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace couplet {

/// The files DIRECTORY/NAME.RANK, one a node, where RANK is the node's lowest rank and the file holds a heartbeat's
/// text of each; and DIRECTORY/NAME.JOB.end when the job is to end.
class HeartbeatFiles {
public:
  /// `job` is the same on all ranks and differs from every other job's, so that two jobs of one name are not mixed up.
  HeartbeatFiles(std::filesystem::path directory, std::string name, std::string job)
      : directory_(std::move(directory)), name_(std::move(name)), job_(std::move(job)) {}
  const std::filesystem::path& directory() const { return directory_; }
  const std::string& job() const { return job_; }

  /// Makes the directory and removes what an earlier job of the same name left. One rank calls it, before any writes.
  void clear() const;
  /// `texts`: heartbeat_text of each rank of the node. Returns false if they cannot be written. One process of the node
  /// calls it at a time, or several that write the same.
  bool write(int lowest_rank, const std::string& texts) const;
  /// Returns the heartbeats of the node's ranks; not those of ranks that have told none in this job, or that were
  /// written over at that moment.
  std::vector<Heartbeat> read(int lowest_rank) const;
  /// Returns those of this job among such texts.
  std::vector<Heartbeat> parse(const std::string& texts) const;

  /// Announces once why all ranks are to end. Returns true to the caller who is first.
  bool announce_end(const std::string& reason) const;
  bool end_announced() const;

  /// Reads, by name, the heartbeats of every wanted name in a directory: those of the job that wrote last, in the order
  /// of the ranks. Where a file's own time is later than all that it holds, by the clock of whoever keeps the files,
  /// `time` is later by as much. Any process may call it at any moment.
  static std::map<std::string, std::vector<Heartbeat>> read_all(
      const std::filesystem::path& directory, const std::function<bool(const std::string& name)>& wanted);

private:
  std::filesystem::path node_path(int lowest_rank) const;
  std::filesystem::path end_path() const;

  std::filesystem::path directory_;
  std::string name_, job_;
};

}  // namespace couplet
