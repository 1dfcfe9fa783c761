// What ranks leave about their end. The script of a job reads a file to which each rank appends lines; `couplet status`
// reads the failure that ended a stage.
//
// A line of the note is one JSON object without spaces, whose fields stand in this order, so that a shell script can
// pick lines and texts with patterns:
//   {"event":"signal","signal":"USR1"}      the rank was asked to stop (USR1, TERM or INT)
//   {"event":"again","signal":"TERM"}       it was asked a second time and ends at once
//   {"event":"failed","rank":1,"host":"n2","message":"rank 1: ..."}
//   {"event":"done"}                        it has done its work
// The first line tells why a job ended: what follows comes of the launcher ending the other ranks.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace couplet {

/// From now on the note gets a line at each of these events; a signal that came before is made up for. Without this
/// call nothing is noted. Each line is appended under the file's lock (fcntl): on a network file system lines of ranks
/// on several hosts would overwrite each other.
void open_end_note(const std::filesystem::path& path);
/// Safe in a signal's handler. `again`: this is the second request.
void note_signal(int signal, bool again);
/// Notes a failure of `rank` and keeps it in the failure record. `message` is what the user reads, rank included.
void note_failure(int rank, const std::string& message);
/// Notes that this rank has done its work. A launcher's exit status 0 alone is not enough: srun ends with it, too,
/// where its ranks never started.
void note_success();
/// Signals are not noted any more: the work has come to its end, and the launcher may end stragglers.
void close_end_note();

/// The failure that ended a stage: one JSON object in a file of its own.
struct RankFailure {
  double time = 0;    ///< Unix time, by the rank's host
  std::string stage;  ///< that the rank worked on ("student/nf-0", "coupling-nf-3"); "" if it had not begun one
  int rank = 0;
  std::string host;
  std::string message;  ///< what the user reads, rank included
};
/// Where the failure of a job is kept whose heartbeats have this name in `directory` (liveness/heartbeat_files.h).
std::filesystem::path failure_path(const std::filesystem::path& directory, const std::string& name);
/// From now on a failure of this process is kept in this file, if its directory is there. Of several ranks of one job
/// the first one's stays; what an earlier job left is replaced.
void keep_failure_in(const std::filesystem::path& path);
/// Nothing if there is no such file or it cannot be read.
std::optional<RankFailure> read_failure(const std::filesystem::path& path);

}  // namespace couplet
