#include "pipeline/process/interruption.h"

#include "pipeline/process/end_note.h"
#include "storage/files/file_handle.h"

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <thread>

namespace couplet {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds one_request{1};  // signals that come within it are the same request

const Clock::time_point process_start = Clock::now();
std::atomic<Clock::rep> requested = 0;  ///< when a stop was requested; 0: none was
std::atomic<Clock::rep> time_limit = 0;
bool usr1_repeats = false;

Clock::rep ticks(Clock::time_point time) {
  return time.time_since_epoch().count();
}

void take_signal(int signal) {
  const Clock::rep now = ticks(Clock::now());
  Clock::rep first = 0;
  if (requested.compare_exchange_strong(first, now)) return note_signal(signal, false);
  if (signal == SIGUSR1 && usr1_repeats) return;
  if (now - first <= Clock::duration(one_request).count()) return;
  note_signal(signal, true);
  _exit(128 + signal);
}

}  // namespace

void watch_signals(Repeats repeats) {
  usr1_repeats = repeats == Repeats::nothing;
  sigset_t watched;
  sigemptyset(&watched);
  struct sigaction action {};
  action.sa_handler = take_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (const int signal : {SIGUSR1, SIGTERM, SIGINT}) {
    sigaddset(&watched, signal);
    // The handler is for threads that were there before this call: their masks are not changed.
    if (sigaction(signal, &action, nullptr) != 0) fail("cannot watch signal {}: {}", signal, errno_text(errno));
  }
  // Threads inherit the mask, so that no thread that computes is ever interrupted (see the header).
  if (const int error = pthread_sigmask(SIG_BLOCK, &watched, nullptr))
    fail("cannot block signals: {}", errno_text(error));
  std::thread([watched] {
    for (int signal = 0;;) {
      if (sigwait(&watched, &signal) == 0) take_signal(signal);
    }
  }).detach();
}

void set_time_limit(double seconds) {
  const auto duration = std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  time_limit = seconds > 0 ? ticks(process_start + duration) : 0;
}

bool stop_requested() {
  return requested != 0 || time_limit_over();
}

bool time_limit_over() {
  const Clock::rep limit = time_limit;
  return requested == 0 && limit != 0 && ticks(Clock::now()) >= limit;
}

void end_with_parent() {
  const pid_t parent = getppid();
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) fail("cannot tie this process to its parent: {}", errno_text(errno));
  // The parent may have died before the call. The kernel sends no signal then, but this process has another parent. So
  // it has if its parent is process 1, except where the launcher itself is process 1 (in a container), whose session
  // this process then shares.
  const bool orphan = getppid() != parent || (parent == 1 && getsid(0) != 1);
  if (orphan) raise(SIGKILL);
}

}  // namespace couplet
