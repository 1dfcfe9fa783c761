#include "launch/local/process.h"

#include "launch/local/child_process.h"
#include "launch/local/launcher_output.h"
#include "pipeline/process/log.h"
#include "storage/error.h"
#include "storage/files/file_handle.h"
#include "storage/text.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <optional>
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

/// A child process whose ranks' stderr goes to ours and to a log.
class LoggedChild {
public:
  explicit LoggedChild(const ProcessRequest& request)
      : name_(std::filesystem::path(request.command.front()).filename().string()),
        log_(request.log, open_to_append(request.log)),
        output_(name_),
        child_({request.command, -1, errors_.write_end()}) {
    errors_.close_write_end();
  }

  int errors() const { return errors_.read_end(); }
  std::optional<int> ended() { return child_.ended(); }
  void ask_to_stop() const { child_.send(SIGUSR1); }
  void kill_group() const { child_.kill_group(); }

  /// Hands on what its ranks have said on its stderr; false at its end.
  bool copy_errors() {
    std::array<char, 4096> bytes;
    const ssize_t count = read(errors(), bytes.data(), bytes.size());
    if (count <= 0) return count < 0 && errno == EINTR;
    print(output_.take({bytes.data(), static_cast<std::size_t>(count)}));
    return true;
  }
  void print_rest() { print(output_.take_rest()); }
  /// Of a failure that no rank has told of.
  void print_own_words() const {
    if (!output_.rank_has_told() && !output_.own_words().empty())
      print(fmt::format("{}: {}\n", name_, output_.own_words()));
  }

private:
  void print(const std::string& text) const {
    for (const int to : {STDERR_FILENO, log_.descriptor()}) std::ignore = write(to, text.data(), text.size());
  }

  std::string name_;
  FileHandle log_;
  LauncherOutput output_;
  Pipe errors_;
  ChildProcess child_;
};

/// What the child's ranks still had to say: they end moments after it.
void drain_errors(LoggedChild& child) {
  const auto deadline = Clock::now() + std::chrono::seconds(2);
  pollfd event{child.errors(), POLLIN, 0};
  while (Clock::now() < deadline)
    if (poll(&event, 1, 100) > 0 && !child.copy_errors()) return;
}

}  // namespace

SignalReader::SignalReader() {
  const sigset_t set = watched_signals();
  if (sigprocmask(SIG_BLOCK, &set, nullptr) != 0 || (descriptor_ = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) < 0)
    fail("cannot watch signals: {}", errno_text(errno));
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
  LoggedChild child(request);
  Stop stop;
  bool errors_open = true;
  while (!child.ended()) {
    pollfd events[] = {{signals.descriptor(), POLLIN, 0}, {errors_open ? child.errors() : -1, POLLIN, 0}};
    poll(events, 2, poll_milliseconds(stop.asked(), request.stop_at));
    if (events[1].revents != 0) errors_open = child.copy_errors();
    const SignalReader::Requests requests = signals.take();
    if (stop.asked() && stop.insisted(requests)) {
      end.killed = true;
      child.kill_group();
    } else if (!stop.asked() && (requests.stop || Clock::now() >= request.stop_at)) {
      stop.ask(request.stop_grace);
      say("{}stopping at {}, in {} at most; Ctrl-C again ends it at once",
          requests.stop ? "" : "pipeline.time-limit is over: ", request.stops_at, duration_text(request.stop_grace));
      child.ask_to_stop();
    } else if (stop.asked() && events[1].revents == 0) {
      child.ask_to_stop();
    }
  }
  end.status = *child.ended();
  if (errors_open) drain_errors(child);
  child.print_rest();
  end.stop_requested = stop.asked() || signals.take().stop;
  if (end.status != exit_ok && !end.stop_requested) child.print_own_words();
  return end;
}

}  // namespace couplet
