#include "launch/local/process.h"

#include "pipeline/process/log.h"
#include "storage/error.h"
#include "storage/text.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <tuple>

namespace couplet {

namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

constexpr std::array stop_signals{SIGINT, SIGTERM, SIGHUP, SIGUSR1};

sigset_t watched_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : stop_signals) sigaddset(&set, signal);
  sigaddset(&set, SIGCHLD);
  return set;
}

/// The child between fork and exec: only calls that are safe there.
[[noreturn]] void become(char* const* words, int errors, pid_t parent) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(exit_failed);  // the parent died before it could be watched
  const sigset_t set = watched_signals();
  sigprocmask(SIG_UNBLOCK, &set, nullptr);
  // Not the terminal's: a process group in the background that reads from it is stopped.
  if (const int nothing = open("/dev/null", O_RDONLY); nothing >= 0) dup2(nothing, STDIN_FILENO);
  dup2(errors, STDERR_FILENO);
  execv(words[0], words);
  const char* text = std::strerror(errno);
  std::ignore = write(errors, text, std::strlen(text));
  std::ignore = write(errors, "\n", 1);
  _exit(127);
}

/// A child process whose stderr we read.
class Child {
public:
  explicit Child(const ProcessRequest& request)
      : log_(open(request.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)) {
    if (log_ < 0) fail("cannot append to {}: {}", request.log.string(), std::strerror(errno));
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) fail("cannot make a pipe: {}", std::strerror(errno));
    errors_ = ends[0];
    std::vector<std::string> texts = request.command;
    std::vector<char*> words;
    for (auto& text : texts) words.push_back(text.data());
    words.push_back(nullptr);
    std::fflush(nullptr);
    const pid_t parent = getpid();
    pid_ = fork();
    if (pid_ == 0) become(words.data(), ends[1], parent);
    const int reason = errno;
    close(ends[1]);
    if (pid_ < 0) fail("cannot start {}: {}", texts.front(), std::strerror(reason));
    setpgid(pid_, pid_);  // here as in the child: whichever comes first
  }
  ~Child() {
    if (!ended_) {
      kill_group();
      waitpid(pid_, nullptr, 0);
    }
    close(errors_);
    close(log_);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  int errors() const { return errors_; }
  void ask_to_stop() const { kill(pid_, SIGUSR1); }
  void kill_group() const { killpg(pid_, SIGKILL); }

  /// True once it has ended; `status` is then set.
  bool ended(int& status) {
    int raw = 0;
    if (!ended_ && waitpid(pid_, &raw, WNOHANG) == pid_) {
      ended_ = true;
      status_ = WIFEXITED(raw) ? WEXITSTATUS(raw) : 128 + WTERMSIG(raw);
    }
    status = status_;
    return ended_;
  }

  /// Hands on what has come on its stderr; false at its end.
  bool copy_errors() const {
    std::array<char, 4096> bytes;
    const ssize_t count = read(errors_, bytes.data(), bytes.size());
    if (count <= 0) return count < 0 && errno == EINTR;
    for (const int to : {STDERR_FILENO, log_}) std::ignore = write(to, bytes.data(), static_cast<std::size_t>(count));
    return true;
  }

private:
  pid_t pid_ = -1;
  int errors_ = -1, log_ = -1, status_ = 0;
  bool ended_ = false;
};

/// What the child's ranks still had to say: they end moments after it.
void drain_errors(const Child& child) {
  const auto deadline = Clock::now() + std::chrono::seconds(2);
  pollfd event{child.errors(), POLLIN, 0};
  while (Clock::now() < deadline)
    if (poll(&event, 1, 100) > 0 && !child.copy_errors()) return;
}

}  // namespace

SignalReader::SignalReader() {
  const sigset_t set = watched_signals();
  if (sigprocmask(SIG_BLOCK, &set, nullptr) != 0 || (descriptor_ = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) < 0)
    fail("cannot watch signals: {}", std::strerror(errno));
}

SignalReader::~SignalReader() {
  // A request that nobody took is not to end the program now.
  take();
  close(descriptor_);
  const sigset_t set = watched_signals();
  sigprocmask(SIG_UNBLOCK, &set, nullptr);
}

SignalReader::Requests SignalReader::take() {
  Requests requests;
  for (signalfd_siginfo info; read(descriptor_, &info, sizeof info) == sizeof info;) {
    const int signal = static_cast<int>(info.ssi_signo);
    requests.stop |= std::ranges::find(stop_signals, signal) != stop_signals.end();
    requests.interrupt |= signal == SIGINT;
    requests.terminate |= signal == SIGTERM;
  }
  return requests;
}

namespace {

/// From the request to stop to its end.
class Stop {
public:
  bool asked() const { return asked_ != Clock::time_point::max(); }
  void ask(double grace) {
    asked_ = Clock::now();
    kill_time_ = asked_ + std::chrono::duration_cast<Clock::duration>(Seconds(grace));
  }
  /// No more waiting for the checkpoint.
  bool insisted(const SignalReader::Requests& requests) const {
    const Clock::time_point now = Clock::now();
    return requests.interrupt || (requests.terminate && now - asked_ > std::chrono::seconds(1)) || now >= kill_time_;
  }

private:
  Clock::time_point asked_ = Clock::time_point::max(), kill_time_ = asked_;
};

/// How long to wait for something to happen.
int poll_milliseconds(bool stopping, Clock::time_point stop_at) {
  if (stopping) return 1000;  // ask again, and see whether the grace is over
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(stop_at - Clock::now()).count() + 1;
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, 60000));
}

}  // namespace

ProcessEnd run_process(const ProcessRequest& request, SignalReader& signals) {
  ProcessEnd end;
  Child child(request);
  Stop stop;
  bool errors_open = true;
  while (!child.ended(end.status)) {
    pollfd events[] = {{signals.descriptor(), POLLIN, 0}, {errors_open ? child.errors() : -1, POLLIN, 0}};
    poll(events, 2, poll_milliseconds(stop.asked(), request.stop_at));
    if (events[1].revents != 0) errors_open = child.copy_errors();
    const SignalReader::Requests requests = signals.take();
    if (stop.asked() && stop.insisted(requests)) {
      end.killed = true;
      child.kill_group();
    } else if (!stop.asked() && (requests.stop || Clock::now() >= request.stop_at)) {
      stop.ask(request.stop_grace);
      say("{}stopping at the next checkpoint, in {} at most; Ctrl-C again ends it at once",
          requests.stop ? "" : "pipeline.time-limit is over: ", duration_text(request.stop_grace));
      child.ask_to_stop();
    } else if (stop.asked() && events[1].revents == 0) {
      child.ask_to_stop();
    }
  }
  if (errors_open) drain_errors(child);
  end.stop_requested = stop.asked() || signals.take().stop;
  return end;
}

std::filesystem::path find_program(const std::string& name, const std::string& need) {
  const char* path = std::getenv("PATH");
  std::istringstream folders(path ? path : "/usr/local/bin:/usr/bin:/bin");
  for (std::string folder; std::getline(folders, folder, ':');) {
    const auto candidate = std::filesystem::path(folder) / name;
    if (access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  fail("{} was not found in PATH; {}", name, need);
}

}  // namespace couplet
