// The processes of a stage as children of `couplet run`, which are stopped on request and never left behind.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace couplet {

/// While it lives, SIGINT, SIGTERM, SIGHUP, SIGUSR1 and SIGCHLD are held back, and read here instead of ending the
/// program.
class SignalReader {
public:
  SignalReader();
  ~SignalReader();
  SignalReader(const SignalReader&) = delete;
  SignalReader& operator=(const SignalReader&) = delete;
  /// A descriptor that is readable when a signal has come.
  int descriptor() const { return descriptor_; }
  struct Requests {
    bool stop = false;       ///< one of the first four has come
    bool interrupt = false;  ///< SIGINT: Ctrl-C
    bool terminate = false;  ///< SIGTERM
  };
  /// Returns what has come since the last call.
  Requests take();

private:
  int descriptor_ = -1;
};

struct ProcessRequest {
  std::vector<std::string> command;  ///< the program's path and its words
  std::filesystem::path log;         ///< what the ranks say on stderr is appended to this file, besides going to ours
  double stop_grace = 60;            ///< seconds between the request to stop and SIGKILL
  std::string stops_at = "the next checkpoint";  ///< where a request to stop lets it end, as a message says it
  std::chrono::steady_clock::time_point stop_at =
      std::chrono::steady_clock::time_point::max();  ///< when it is stopped as if asked
};

struct ProcessEnd {
  int status = 0;               ///< as a shell gives it: exit status, or 128 + signal
  bool stop_requested = false;  ///< a stop was requested while it ran
  bool killed = false;          ///< we killed it: the grace was over, or the request came again
};

/// Runs the command to its end. After a request to stop the process gets SIGUSR1, which mpirun hands on to the ranks;
/// it gets one every second, as one that comes before the ranks are there is lost. Its group gets SIGKILL when the
/// grace is over, at a second Ctrl-C, or at a second SIGTERM over a second after the first (timeout(1) sends two). The
/// child dies with this process (SIGKILL). What mpirun says itself, rather than a rank, is printed where the process
/// fails without a rank having told why.
ProcessEnd run_process(const ProcessRequest& request, SignalReader& signals);

}  // namespace couplet
