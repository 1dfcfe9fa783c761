#include "pipeline/interruption.h"

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <thread>

namespace couplet {
namespace {

volatile sig_atomic_t requested = 0;
volatile sig_atomic_t interrupted = 0;

extern "C" void on_signal(int signal) {
  if (signal == SIGINT) {
    if (interrupted) _exit(128 + SIGINT);
    interrupted = 1;
  }
  requested = 1;
}

}  // namespace

void watch_signals() {
  sigset_t watched;
  sigemptyset(&watched);
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (const int signal : {SIGUSR1, SIGTERM, SIGINT}) {
    sigaddset(&watched, signal);
    // For threads that were there before this call, whose masks are not changed.
    if (sigaction(signal, &action, nullptr) != 0) fail("cannot watch signal {}: {}", signal, std::strerror(errno));
  }
  // Threads inherit the mask: no thread that computes is ever interrupted (see the header), one that waits takes the
  // signals.
  if (const int error = pthread_sigmask(SIG_BLOCK, &watched, nullptr))
    fail("cannot block signals: {}", std::strerror(error));
  std::thread([watched] {
    for (int signal = 0;;) {
      if (sigwait(&watched, &signal) == 0) on_signal(signal);
    }
  }).detach();
}

bool stop_requested() {
  return requested != 0;
}

bool agree_to_stop(Communicator& communicator) {
  return communicator.maximum(stop_requested() ? 1 : 0) != 0;
}

void end_with_parent() {
  const pid_t parent = getppid();
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) fail("cannot tie this process to its parent: {}", std::strerror(errno));
  // The parent may have died before the call: then the kernel will not tell, but it has given this process to another
  // one. Process 1 as a parent means that too, except where the launcher itself is process 1 (in a container): then
  // this process is of its session.
  const bool orphan = getppid() != parent || (parent == 1 && getsid(0) != 1);
  if (orphan) raise(SIGKILL);
}

}  // namespace couplet
