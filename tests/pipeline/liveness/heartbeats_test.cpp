#include "pipeline/liveness/heartbeats.h"

#include "storage/host_name.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

namespace couplet {
namespace {

constexpr HeartbeatLimits limits{.silent = 60, .slow = 300};

/// A process of this host that waits to be killed.
pid_t start_process() {
  const pid_t process = ::fork();
  if (process == 0)
    for (;;) ::pause();
  return process;
}

/// The heartbeat that one rank wrote a second ago.
Heartbeats of(const std::string& host, pid_t process, Activity::State state = Activity::State::computing) {
  Heartbeat heartbeat;
  heartbeat.host = host;
  heartbeat.process = process;
  heartbeat.time = 99;
  heartbeat.activity.state = state;
  return {{heartbeat}};
}

bool alive(const Heartbeats& heartbeats) {
  return heartbeats.alive(100, limits);
}

TEST(Heartbeats, ARankThatWasKilledOnThisHostIsNotAlive) {
  const pid_t process = start_process();
  ASSERT_GT(process, 0);
  EXPECT_TRUE(alive(of(host_name(), process)));
  ::kill(process, SIGKILL);
  siginfo_t info{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(process), &info, WEXITED | WNOWAIT), 0);
  EXPECT_FALSE(alive(of(host_name(), process))) << "it has ended, and its parent has not asked after it yet";
  ASSERT_EQ(::waitpid(process, nullptr, 0), process);
  EXPECT_FALSE(alive(of(host_name(), process))) << "nothing of it is left";
}

TEST(Heartbeats, OfARankOnAnotherHostOnlyItsFileSaysWhetherItIsAlive) {
  Heartbeats elsewhere = of("another-host", 1);
  EXPECT_TRUE(alive(elsewhere));
  elsewhere.ranks[0].time = 39;
  EXPECT_FALSE(alive(elsewhere)) << "silent for 61 s";
  EXPECT_FALSE(alive(of("another-host", 1, Activity::State::ended)));
}

}  // namespace
}  // namespace couplet
