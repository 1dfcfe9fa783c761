#include "launch/local/child_process.h"

#include "storage/error.h"
#include "storage/files/file_handle.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <string_view>
#include <tuple>
#include <utility>

namespace couplet {

namespace {

/// Texts as execve takes them; made before the fork, because only few calls are safe between it and exec.
class Words {
public:
  explicit Words(std::vector<std::string> texts) : texts_(std::move(texts)) {
    for (auto& text : texts_) pointers_.push_back(text.data());
    pointers_.push_back(nullptr);
  }
  char* const* pointers() const { return pointers_.data(); }

private:
  std::vector<std::string> texts_;
  std::vector<char*> pointers_;
};

std::vector<std::string> environment_without(const std::vector<std::string>& hidden) {
  std::vector<std::string> kept;
  for (char** variable = environ; *variable; ++variable) {
    const std::string_view text(*variable);
    if (std::ranges::none_of(hidden, [&](const auto& name) { return text.starts_with(name); })) kept.emplace_back(text);
  }
  return kept;
}

/// The child between fork and exec.
[[noreturn]] void execute(const Words& words, const Words& environment, int output, int errors, pid_t parent) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(exit_failed);  // the parent died before it could be watched
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  if (const int nothing = open("/dev/null", O_RDONLY); nothing >= 0) dup2(nothing, STDIN_FILENO);
  if (output >= 0) dup2(output, STDOUT_FILENO);
  if (errors >= 0) dup2(errors, STDERR_FILENO);
  execve(words.pointers()[0], words.pointers(), environment.pointers());
  const char* text = std::strerror(errno);
  std::ignore = write(STDERR_FILENO, text, std::strlen(text));
  std::ignore = write(STDERR_FILENO, "\n", 1);
  _exit(127);
}

}  // namespace

std::filesystem::path find_on_path(const std::string& name) {
  const char* path = std::getenv("PATH");
  std::istringstream folders(path ? path : "/usr/local/bin:/usr/bin:/bin");
  for (std::string folder; std::getline(folders, folder, ':');) {
    const auto candidate = std::filesystem::path(folder) / name;
    if (access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return {};
}

std::filesystem::path find_program(const std::string& name, const std::string& need) {
  std::filesystem::path found = find_on_path(name);
  if (found.empty()) fail("{} was not found in PATH; {}", name, need);
  return found;
}

Pipe::Pipe() {
  if (pipe2(ends_, O_CLOEXEC) != 0) fail("cannot make a pipe: {}", errno_text(errno));
}

Pipe::~Pipe() {
  for (const int end : ends_)
    if (end >= 0) close(end);
}

void Pipe::close_write_end() {
  close(std::exchange(ends_[1], -1));
}

std::optional<int> signal_of(int status) {
  const int signal = status - 128;
  return signal >= 1 && signal <= SIGRTMAX ? std::optional(signal) : std::nullopt;
}

std::string status_text(int status) {
  const auto signal = signal_of(status);
  return signal ? fmt::format("ended by signal {} ({})", *signal, ::strsignal(*signal))
                : fmt::format("exit status {}", status);
}

ChildProcess::ChildProcess(const ChildRequest& request) {
  const Words words(request.command), environment(environment_without(request.hidden));
  std::fflush(nullptr);
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ == 0) execute(words, environment, request.output, request.errors, parent);
  if (pid_ < 0) fail("cannot start {}: {}", request.command.front(), errno_text(errno));
  setpgid(pid_, pid_);  // here as in the child: whichever comes first
}

ChildProcess::~ChildProcess() {
  if (status_) return;
  kill_group();
  waitpid(pid_, nullptr, 0);
}

std::optional<int> ChildProcess::ended() {
  int raw = 0;
  if (!status_ && waitpid(pid_, &raw, WNOHANG) == pid_)
    status_ = WIFEXITED(raw) ? WEXITSTATUS(raw) : 128 + WTERMSIG(raw);
  return status_;
}

void ChildProcess::send(int signal) const {
  kill(pid_, signal);
}

void ChildProcess::kill_group() const {
  killpg(pid_, SIGKILL);
}

}  // namespace couplet
