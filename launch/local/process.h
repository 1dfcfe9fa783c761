// One stage's processes as children of `couplet run`: started in a process group of their own, stopped on request,
// never left behind.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace couplet {

/// Holds back SIGINT, SIGTERM, SIGHUP, SIGUSR1 and SIGCHLD for the life of the object, so that they are read here
/// instead of ending the program.
class SignalReader {
public:
  SignalReader();
  ~SignalReader();
  SignalReader(const SignalReader&) = delete;
  SignalReader& operator=(const SignalReader&) = delete;
  /// Readable when a signal has come.
  int descriptor() const { return descriptor_; }
  struct Requests {
    bool stop = false;       ///< any of the four
    bool interrupt = false;  ///< SIGINT: Ctrl-C
    bool terminate = false;  ///< SIGTERM
  };
  /// What has come since the last call.
  Requests take();

private:
  int descriptor_ = -1;
};

struct ProcessRequest {
  std::vector<std::string> command;  ///< program (a path) and its words
  std::filesystem::path log;         ///< stderr is appended to this file, besides going to ours
  double stop_grace = 60;            ///< seconds between the request to stop and SIGKILL
  std::chrono::steady_clock::time_point stop_at = std::chrono::steady_clock::time_point::max();  ///< as if asked then
};

struct ProcessEnd {
  int status = 0;               ///< as a shell gives it: exit status, or 128 + signal
  bool stop_requested = false;  ///< a stop was requested while it ran
  bool killed = false;          ///< by us: grace over, or a second request
};

/// Runs the command to its end. A request to stop becomes SIGUSR1 to the process (mpirun hands it on to the ranks),
/// again every second because one that comes before the ranks are there is lost; then, when the grace is over, at a
/// second Ctrl-C, or at a second SIGTERM over a second after the first (timeout(1) sends two), SIGKILL to its group.
/// The child dies with this process (SIGKILL).
ProcessEnd run_process(const ProcessRequest& request, SignalReader& signals);

}  // namespace couplet
