#include "launch/local/captured_command.h"

#include "storage/error.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <sstream>
#include <string_view>
#include <thread>

namespace couplet {

namespace {

using Clock = std::chrono::steady_clock;

/// What follows fork: made before it, because only few calls are safe between fork and exec.
struct Words {
  explicit Words(std::vector<std::string> all) : texts(std::move(all)) {
    for (auto& text : texts) pointers.push_back(text.data());
    pointers.push_back(nullptr);
  }
  std::vector<std::string> texts;
  std::vector<char*> pointers;
};

std::vector<std::string> environment_without(const std::vector<std::string>& hidden) {
  std::vector<std::string> kept;
  for (char** variable = environ; *variable; ++variable) {
    const std::string_view text(*variable);
    if (std::ranges::none_of(hidden, [&](const auto& name) { return text.starts_with(name); })) kept.emplace_back(text);
  }
  return kept;
}

std::filesystem::path find_on_path(const std::string& program) {
  const char* path = std::getenv("PATH");
  std::istringstream folders(path ? path : "/usr/local/bin:/usr/bin:/bin");
  for (std::string folder; std::getline(folders, folder, ':');) {
    const auto candidate = std::filesystem::path(folder) / program;
    if (access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return {};
}

[[noreturn]] void become(const char* program, const Words& words, const Words& environment, int output, int errors) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  if (const int nothing = open("/dev/null", O_RDONLY); nothing >= 0) dup2(nothing, STDIN_FILENO);
  dup2(output, STDOUT_FILENO);
  dup2(errors, STDERR_FILENO);
  execve(program, words.pointers.data(), environment.pointers.data());
  _exit(127);
}

/// Appends what can be read at this moment; false at the end.
bool read_some(int descriptor, std::string& text) {
  std::array<char, 1 << 16> bytes;
  const ssize_t count = read(descriptor, bytes.data(), bytes.size());
  if (count > 0) text.append(bytes.data(), static_cast<std::size_t>(count));
  return count > 0 || (count < 0 && (errno == EINTR || errno == EAGAIN));
}

int milliseconds_until(Clock::time_point deadline) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count() + 1;
  return static_cast<int>(std::max<std::int64_t>(0, left));
}

/// Reads both pipes to their ends; false when the deadline came first.
bool read_until(Clock::time_point deadline, int output, int errors, CapturedCommand& result) {
  std::array<pollfd, 2> pipes{{{output, POLLIN, 0}, {errors, POLLIN, 0}}};
  while (pipes[0].fd >= 0 || pipes[1].fd >= 0) {
    if (Clock::now() >= deadline) return false;
    poll(pipes.data(), pipes.size(), milliseconds_until(deadline));
    if (pipes[0].revents != 0 && !read_some(output, result.output)) pipes[0].fd = -1;
    if (pipes[1].revents != 0 && !read_some(errors, result.errors)) pipes[1].fd = -1;
  }
  return true;
}

/// Waits for the child until the deadline; false if it has not ended by then.
bool wait_until(Clock::time_point deadline, pid_t pid, int& raw) {
  while (waitpid(pid, &raw, WNOHANG) != pid) {
    if (Clock::now() >= deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

}  // namespace

bool on_path(const std::string& program) {
  return !find_on_path(program).empty();
}

CapturedCommand run_captured(const std::vector<std::string>& command, double patience_seconds,
                             const std::vector<std::string>& hidden) {
  CapturedCommand result;
  const std::string program = find_on_path(command.front()).string();
  if (program.empty()) return {127, false, "", command.front() + " is not on PATH"};
  const Words words(command), environment(environment_without(hidden));
  std::array<int, 2> output{}, errors{};
  if (pipe2(output.data(), O_CLOEXEC) != 0 || pipe2(errors.data(), O_CLOEXEC) != 0)
    fail("cannot make a pipe for {}: {}", program, std::strerror(errno));
  const pid_t pid = fork();
  const int reason = errno;
  if (pid == 0) become(program.c_str(), words, environment, output[1], errors[1]);
  for (const int end : {output[1], errors[1]}) close(end);
  if (pid > 0) {
    setpgid(pid, pid);
    const auto deadline = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                             std::chrono::duration<double>(std::max(0.0, patience_seconds)));
    int raw = 0;
    if (!read_until(deadline, output[0], errors[0], result) || !wait_until(deadline, pid, raw)) {
      result.timed_out = true;
      killpg(pid, SIGKILL);
      waitpid(pid, &raw, 0);
    }
    result.status = WIFEXITED(raw) ? WEXITSTATUS(raw) : 128 + WTERMSIG(raw);
  }
  for (const int end : {output[0], errors[0]}) close(end);
  if (pid < 0) fail("cannot start {}: {}", program, std::strerror(reason));
  return result;
}

}  // namespace couplet
