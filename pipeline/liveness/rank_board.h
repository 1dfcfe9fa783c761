// A directory in which every rank of a job notes what it does, for the others to read: small files that are written
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

/// What a rank notes about once a second.
struct RankRecord {
  int rank = 0;
  std::string host;
  std::int64_t process = 0;
  std::int64_t beat = 0;  ///< records it has written: one that does not grow is of a rank without a sign of life
  double time = 0;        ///< Unix time of writing, by the host's own clock
  Activity activity;

  /// Of this process now.
  static RankRecord own(int rank, std::int64_t beat);
};

/// The files DIRECTORY/NAME.RANK and, when the job is to end, DIRECTORY/NAME.JOB.end.
class RankBoard {
public:
  /// `job`: the same on all ranks and no other job's, so that the records of two jobs of one name are not mixed up.
  RankBoard(std::filesystem::path directory, std::string name, std::string job)
      : directory_(std::move(directory)), name_(std::move(name)), job_(std::move(job)) {}
  const std::filesystem::path& directory() const { return directory_; }

  /// Makes the directory and removes what an earlier job of the same name left; by one rank, before any writes.
  void clear() const;
  /// False if it cannot be written.
  bool write(const RankRecord& record) const;
  /// Nothing if there is none of this job, or if it was being written at that moment.
  std::optional<RankRecord> read(int rank) const;

  /// Announces, once for all ranks, why all are to end: true for the caller who is first.
  bool announce_end(const std::string& reason) const;
  bool end_announced() const;

  /// The boards in a directory whose names are wanted: of each the records of the job that wrote last, by rank. `time`
  /// is the file's own where that is later. For people; to be read at any moment by any process.
  static std::map<std::string, std::vector<RankRecord>> read_all(
      const std::filesystem::path& directory, const std::function<bool(const std::string& name)>& wanted);

private:
  std::filesystem::path record_path(int rank) const;
  std::filesystem::path end_path() const;

  std::filesystem::path directory_;
  std::string name_, job_;
};

}  // namespace couplet
