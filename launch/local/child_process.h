// A child process, which is started in a process group of its own and never left behind.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace couplet {

/// Returns where a program of this name lies on PATH; empty if it is not there.
std::filesystem::path find_on_path(const std::string& name);
/// The same, but a program that is not there is an error that says what needs it.
std::filesystem::path find_program(const std::string& name, const std::string& need);

/// A pipe whose ends close themselves; no child inherits them.
class Pipe {
public:
  Pipe();
  ~Pipe();
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  int read_end() const { return ends_[0]; }
  int write_end() const { return ends_[1]; }
  /// Is called when the child has its copy, so that the reader meets the end when the child has ended.
  void close_write_end();

private:
  int ends_[2] = {-1, -1};
};

/// What a child is started with. Its stdin is empty, as a process group in the background that reads from the terminal
/// is stopped.
struct ChildRequest {
  std::vector<std::string> command;      ///< the program's path, and its words
  int output = -1;                       ///< a descriptor that becomes its stdout; -1: it has ours
  int errors = -1;                       ///< likewise its stderr
  std::vector<std::string> hidden = {};  ///< it does not get variables whose names begin with one of these
};

/// "ended by signal 9 (Killed)", "exit status 3": the status of a process as a shell gives it. One above 128 stands for
/// a signal where there is one of that number; 255 is an exit status.
std::string status_text(int status);
/// The signal that a status stands for, if it does for one.
std::optional<int> signal_of(int status);

/// The child is killed (SIGKILL) when the thread that started it ends. A program that cannot be executed says why on
/// its stderr and ends with status 127.
class ChildProcess {
public:
  explicit ChildProcess(const ChildRequest& request);
  /// Kills the whole group and waits for the child, if it has not ended.
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  /// Returns its status as a shell gives it (exit status, or 128 + signal), once it has ended.
  std::optional<int> ended();
  void send(int signal) const;
  void kill_group() const;

private:
  pid_t pid_ = -1;
  std::optional<int> status_;
};

}  // namespace couplet
