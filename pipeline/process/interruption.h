// Requests to stop: signals set a flag, which ranks agree on at a step boundary (pipeline/distributed/agreement.h).
#pragma once

#include "storage/error.h"

#include <string>

namespace couplet {

/// Thrown after the stage has saved what it has; the process exits with status 75 (exit_interrupted).
class Interrupted : public Error {
public:
  explicit Interrupted(const std::string& message) : Error(message, exit_interrupted) {}
};

/// What a second SIGUSR1 means.
enum class Repeats {
  insists,  ///< as a second of the others
  nothing   ///< `couplet run`, which started this process, repeats its request every second
};

/// SIGUSR1, SIGTERM and SIGINT set the flag; one more that comes over a second later (one Ctrl-C may reach a process
/// twice, through its group and through mpirun) ends the process at once with status 128 + signal. Call first in main,
/// before there are other threads: the signals are blocked in this thread and its children and taken by a thread that
/// does nothing else. A handler that ran on a computing thread would corrupt its memory: oneDNN's generated kernels
/// (LibTorch 2.11, AVX-512) keep values below the stack pointer, where the kernel puts a handler's frame.
void watch_signals(Repeats repeats = Repeats::insists);
/// From `seconds` after the start of this process on, it is as if it had been asked to stop. 0: never.
void set_time_limit(double seconds);
/// A signal has come, or the time limit is over.
bool stop_requested();
/// That it was not a signal.
bool time_limit_over();
/// The process ends (SIGKILL) when the process that started it does: no orphan rank goes on publishing.
void end_with_parent();

}  // namespace couplet
