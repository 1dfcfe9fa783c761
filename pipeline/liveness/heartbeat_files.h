// The files in which every rank of a job notes what it does, for the other ranks and for people to read: small, written
// over in place, on any file system that the ranks share.
#pragma once

#include "pipeline/liveness/activity.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace couplet {

/// What a rank writes about once a second.
struct Heartbeat {
  int rank = 0;
  std::string host;
  std::int64_t process = 0;
  std::int64_t number = 0;  ///< counts the rank's heartbeats; while it does not grow, the rank gives no sign of life
  double time = 0;          ///< Unix time of writing, by the host's own clock
  Activity activity;

  /// The heartbeat of this process now.
  static Heartbeat own(int rank, std::int64_t number);
};

/// The files DIRECTORY/NAME.RANK, and DIRECTORY/NAME.JOB.end when the job is to end.
class HeartbeatFiles {
public:
  /// `job` is the same on all ranks and differs from every other job's, so that two jobs of one name are not mixed up.
  HeartbeatFiles(std::filesystem::path directory, std::string name, std::string job)
      : directory_(std::move(directory)), name_(std::move(name)), job_(std::move(job)) {}
  const std::filesystem::path& directory() const { return directory_; }

  /// Makes the directory and removes what an earlier job of the same name left. One rank calls it, before any writes.
  void clear() const;
  /// Returns false if the heartbeat cannot be written.
  bool write(const Heartbeat& heartbeat) const;
  /// Returns nothing if the rank has written none in this job, or was writing it at that moment.
  std::optional<Heartbeat> read(int rank) const;

  /// Announces once why all ranks are to end. Returns true to the caller who is first.
  bool announce_end(const std::string& reason) const;
  bool end_announced() const;

  /// Reads, by name, the heartbeats of every wanted name in a directory: those of the job that wrote last, in the order
  /// of the ranks. `time` is the file's own time where that is later. Any process may call it at any moment.
  static std::map<std::string, std::vector<Heartbeat>> read_all(
      const std::filesystem::path& directory, const std::function<bool(const std::string& name)>& wanted);

private:
  std::filesystem::path rank_path(int rank) const;
  std::filesystem::path end_path() const;

  std::filesystem::path directory_;
  std::string name_, job_;
};

}  // namespace couplet
