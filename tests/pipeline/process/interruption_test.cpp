#include "pipeline/process/interruption.h"

#include "pipeline/tensor/transformer_ops.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <torch/nn/modules/linear.h>
#include <torch/types.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <functional>
#include <thread>

namespace couplet {
namespace {

/// Wait status of a child process that runs `work` and exits with what it returns.
int status_of_child(const std::function<int()>& work) {
  const pid_t child = fork();
  if (child == 0) _exit(work());
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return status;
}

/// The two ends of a pipe; reading meets the end of the file once every process that can write has ended.
struct Pipe {
  int read_end = -1, write_end = -1;
  Pipe() {
    int ends[2];
    if (pipe(ends) == 0) read_end = ends[0], write_end = ends[1];
  }
  ~Pipe() {
    close(read_end);
    close(write_end);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  /// What read() returns within ten seconds; -1: nothing came.
  long read_one(char* byte) const {
    pollfd wait{read_end, POLLIN, 0};
    return poll(&wait, 1, 10000) == 1 ? read(read_end, byte, 1) : -1;
  }
  void close_write() {
    close(write_end);
    write_end = -1;
  }
};

/// Sends this process a signal and waits, ten seconds at most, until it has been taken.
void signal_self(int signal) {
  kill(getpid(), signal);
  for (int i = 0; i < 1000 && !stop_requested(); ++i) usleep(10000);
}

TEST(Signals, SetTheFlag) {
  for (const int signal : {SIGUSR1, SIGTERM, SIGINT}) {
    const int status = status_of_child([signal] {
      watch_signals();
      if (stop_requested()) return 1;
      signal_self(signal);
      return stop_requested() ? 0 : 2;
    });
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 0) << "signal " << signal;
  }
}

TEST(Signals, ManyRequestsAreOne) {
  const int status = status_of_child([] {
    watch_signals();
    for (const int signal : {SIGTERM, SIGUSR1, SIGTERM, SIGUSR1, SIGINT}) signal_self(signal);
    return stop_requested() ? 0 : 2;
  });
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

// A signal handler on a thread inside one of oneDNN's kernels corrupts memory: a few signals were enough to end a
// training run.
TEST(Signals, DoNotDisturbComputing) {
  const int status = status_of_child([] {
    watch_signals(Repeats::nothing);
    at::set_num_threads(1);
    std::atomic<bool> done = false;
    std::thread sender([&] {
      while (!done) {
        kill(getpid(), SIGUSR1);
        usleep(500);
      }
    });
    torch::nn::Linear wide(96, 384), narrow(384, 96);
    const at::Tensor x = torch::randn({16, 49, 96});
    bool finite = true;
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    while (std::chrono::steady_clock::now() < end) {
      linear(linear(x, wide).relu(), narrow).square().mean().backward();
      finite = finite && wide->weight.grad().isfinite().all().item<bool>();
    }
    done = true;
    sender.join();
    return finite && stop_requested() ? 0 : 2;
  });
  EXPECT_TRUE(WIFEXITED(status)) << "ended by signal " << (WIFSIGNALED(status) ? WTERMSIG(status) : 0);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(Signals, ASecondOneOverASecondLaterEndsAtOnce) {
  for (const int signal : {SIGUSR1, SIGTERM, SIGINT}) {
    const int status = status_of_child([signal] {
      watch_signals();
      signal_self(SIGINT);
      usleep(1'100'000);
      kill(getpid(), signal);
      sleep(10);
      return 0;
    });
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 128 + signal);
  }
}

TEST(Signals, RequestsThatARunRepeatsAreOne) {
  const auto child = [](int second) {
    watch_signals(Repeats::nothing);
    signal_self(SIGUSR1);
    usleep(1'100'000);
    kill(getpid(), second);
    usleep(300'000);
    return stop_requested() ? 5 : 6;
  };
  EXPECT_EQ(WEXITSTATUS(status_of_child([&] { return child(SIGUSR1); })), 5);
  EXPECT_EQ(WEXITSTATUS(status_of_child([&] { return child(SIGTERM); })), 128 + SIGTERM);
}

TEST(TimeLimit, IsARequestToStop) {
  const int status = status_of_child([] {
    set_time_limit(0);
    if (stop_requested()) return 1;
    set_time_limit(1000);
    if (stop_requested() || time_limit_over()) return 2;
    set_time_limit(1e-3);
    return stop_requested() && time_limit_over() ? 5 : 3;
  });
  EXPECT_EQ(WEXITSTATUS(status), 5);
}

TEST(TimeLimit, IsNotTheReasonWhereASignalCameFirst) {
  const int status = status_of_child([] {
    watch_signals();
    signal_self(SIGTERM);
    set_time_limit(1e-3);
    return stop_requested() && !time_limit_over() ? 5 : 3;
  });
  EXPECT_EQ(WEXITSTATUS(status), 5);
}

TEST(EndWithParent, EndsWhenTheParentIsKilled) {
  Pipe pipe;
  const pid_t parent = fork();
  if (parent == 0) {
    if (fork() == 0) {
      end_with_parent();
      const bool said = write(pipe.write_end, "r", 1) == 1;
      if (said) sleep(60);
      _exit(1);
    }
    sleep(60);
    _exit(1);
  }
  pipe.close_write();
  char byte = 0;
  EXPECT_EQ(pipe.read_one(&byte), 1) << "the child did not start";
  kill(parent, SIGKILL);
  waitpid(parent, nullptr, 0);
  EXPECT_EQ(pipe.read_one(&byte), 0) << "the child outlived its parent";
}

TEST(EndWithParent, EndsWhenTheParentIsGoneAlready) {
  Pipe pipe;
  const pid_t parent = fork();
  if (parent == 0) {
    const pid_t self = getpid();
    if (fork() == 0) {
      setsid();
      while (getppid() == self) usleep(1000);
      const char adopted = getppid() == 1 ? 'i' : 'o';
      if (adopted == 'i') end_with_parent();
      const bool said = write(pipe.write_end, &adopted, 1) == 1;
      _exit(said ? 0 : 1);
    }
    _exit(0);
  }
  pipe.close_write();
  waitpid(parent, nullptr, 0);
  char adopted = 0;
  const long read = pipe.read_one(&adopted);
  if (read == 1 && adopted == 'o') GTEST_SKIP() << "orphans are not adopted by process 1 here";
  EXPECT_EQ(read, 0) << "the orphan went on";
}

TEST(EndWithParent, LetsAChildOfALivingParentBe) {
  const int status = status_of_child([] {
    end_with_parent();
    return 5;
  });
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 5);
}

TEST(Interrupted, HasItsOwnExitStatus) {
  EXPECT_EQ(Interrupted("stopped").status(), exit_interrupted);
}

}  // namespace
}  // namespace couplet
