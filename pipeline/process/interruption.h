// Requests to stop. Signals set a flag, on which the ranks agree at a step boundary (pipeline/distributed/agreement.h).
#pragma once

#include "storage/error.h"

#include <string>

namespace couplet {

/// Thrown after the stage has saved what it has. The process exits with status 75 (exit_interrupted).
class Interrupted : public Error {
public:
  explicit Interrupted(const std::string& message) : Error(message, exit_interrupted) {}
};

/// What a second SIGUSR1 means.
enum class Repeats {
  insists,  ///< the same as a second of the other signals
  nothing   ///< `couplet run`, which started this process, repeats its request every second
};

/// From now on SIGUSR1, SIGTERM and SIGINT set the flag. One more signal that comes over a second later ends the
/// process at once with status 128 + signal (one Ctrl-C may reach a process twice, through its group and through
/// mpirun). main calls this first, before there are other threads: the signals are blocked in this thread and its
/// children, and a thread that does nothing else takes them. A handler that ran on a computing thread would corrupt its
/// memory: oneDNN's generated kernels (LibTorch 2.11, AVX-512) keep values below the stack pointer, where the kernel
/// puts a handler's frame.
void watch_signals(Repeats repeats = Repeats::insists);
/// `seconds` after its start this process counts as asked to stop. 0 stands for never.
void set_time_limit(double seconds);
/// True if a signal has come or the time limit is over.
bool stop_requested();
/// True if the time limit is over and no signal has come.
bool time_limit_over();
/// From now on the process ends (SIGKILL) when the process that started it does: no orphan rank goes on publishing.
void end_with_parent();

}  // namespace couplet
