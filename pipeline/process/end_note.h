// What the script of a job learns from its ranks about their end: a file to which each appends a line.
#pragma once

#include <filesystem>
#include <string>

namespace couplet {

/// From now on the file gets a line when this process is asked to stop ("USR1", "TERM", "INT"; requests that came
/// before are made up for), is asked a second time and ends at once ("again"), or fails ("failed: rank 1: ...").
/// Without this call nothing is noted. The first line in the file tells why a job ended: what follows comes of the
/// launcher ending the other ranks.
void open_end_note(const std::filesystem::path& path);
/// Safe in a signal's handler. `again`: the second request.
void note_signal(int signal, bool again);
void note_failure(const std::string& message);
/// "done": this rank has done its work. A launcher's exit status 0 alone is not enough: srun ends with it, too, where
/// its ranks never started.
void note_success();
/// Signals are not noted any more: the work has come to its end, and the launcher may end stragglers.
void close_end_note();

}  // namespace couplet
