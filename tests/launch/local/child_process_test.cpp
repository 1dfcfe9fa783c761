#include "launch/local/child_process.h"

#include "launch/local/captured_command.h"
#include "storage/error.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>

namespace couplet {
namespace {

CapturedCommand shell(const std::string& script, double patience = 30, const std::vector<std::string>& hidden = {}) {
  return run_captured({"sh", "-c", script}, patience, hidden);
}

/// Still after ten seconds. One that has ended and that nobody has waited for is not.
bool is_alive(pid_t pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/stat";
  for (int i = 0; i < 1000; ++i) {
    std::ifstream file(path);
    std::string text((std::istreambuf_iterator<char>(file)), {});
    if (const auto name_end = text.rfind(") "); name_end == std::string::npos || text[name_end + 2] == 'Z')
      return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return true;
}

/// All that comes until the writers have ended.
std::string read_all(const Pipe& pipe) {
  std::string text;
  char bytes[64];
  for (ssize_t count = 0; (count = read(pipe.read_end(), bytes, sizeof bytes)) > 0;)
    text.append(bytes, static_cast<std::size_t>(count));
  return text;
}

TEST(CapturedCommand, ItsWordsAndItsStatus) {
  const CapturedCommand done = shell("printf out; printf err >&2; exit 3");
  EXPECT_EQ(done.status, 3);
  EXPECT_EQ(done.output, "out");
  EXPECT_EQ(done.errors, "err");
  EXPECT_FALSE(done.timed_out);
  EXPECT_EQ(shell("kill -TERM $$").status, 128 + SIGTERM);
  const CapturedCommand large = shell("head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2");
  EXPECT_EQ(large.output.size(), 300000U);
  EXPECT_EQ(large.errors.size(), 300000U);
}

TEST(CapturedCommand, HasNoStdinAndNotEveryVariable) {
  setenv("COUPLET_TEST_SEEN", "yes", 1);
  setenv("COUPLET_TEST_HIDDEN_ONE", "yes", 1);
  const CapturedCommand done =
      shell("cat; echo ${COUPLET_TEST_SEEN:-no} ${COUPLET_TEST_HIDDEN_ONE:-no}", 30, {"COUPLET_TEST_HIDDEN"});
  EXPECT_EQ(done.output, "yes no\n");
}

TEST(CapturedCommand, WhatTakesTooLongIsKilledWithWhatItStarted) {
  const CapturedCommand done = shell("sleep 100 & echo $!; wait", 0.5);
  EXPECT_TRUE(done.timed_out);
  EXPECT_EQ(done.status, 128 + SIGKILL);
  EXPECT_FALSE(is_alive(std::stoi(done.output)));
}

TEST(CapturedCommand, AProgramThatIsNotThere) {
  const CapturedCommand done = run_captured({"couplet-no-such-program"}, 1);
  EXPECT_EQ(done.status, 127);
  EXPECT_EQ(done.errors, "couplet-no-such-program is not on PATH");
  EXPECT_TRUE(find_on_path("couplet-no-such-program").empty());
  EXPECT_EQ(find_program("sh", "").filename(), "sh");
  EXPECT_THROW(find_program("couplet-no-such-program", "install it"), Error);
}

TEST(StatusText, NamesASignalWhereThereIsOne) {
  EXPECT_EQ(status_text(3), "exit status 3");
  EXPECT_EQ(status_text(137), "ended by signal 9 (Killed)");
  EXPECT_EQ(signal_of(128 + SIGRTMAX), SIGRTMAX);
  // What mpirun ends with where it could not start: no signals of these numbers exist.
  for (const int status : {0, 75, 128, 193, 243, 255}) {
    EXPECT_FALSE(signal_of(status)) << status;
    EXPECT_EQ(status_text(status), "exit status " + std::to_string(status));
  }
}

TEST(ChildProcess, IsLeaderOfAGroupAndTakesSignals) {
  sigset_t blocked, before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR1);
  sigprocmask(SIG_BLOCK, &blocked, &before);
  Pipe output;
  {
    ChildProcess child(
        {{"/bin/sh", "-c", "trap 'exit 7' USR1; ps -o pgid= -p $$; while :; do sleep 0.05; done"}, output.write_end()});
    output.close_write_end();
    char bytes[64] = {};
    ASSERT_GT(read(output.read_end(), bytes, sizeof bytes - 1), 0);
    EXPECT_NE(std::atoi(bytes), getpgrp());
    EXPECT_FALSE(child.ended());
    child.send(SIGUSR1);
    while (!child.ended()) usleep(1000);
    EXPECT_EQ(child.ended(), 7);
  }
  sigprocmask(SIG_SETMASK, &before, nullptr);
}

TEST(ChildProcess, EndsWithItsOwner) {
  Pipe output;
  pid_t grandchild = 0;
  {
    const ChildProcess child({{"/bin/sh", "-c", "sleep 100 & echo $!; wait"}, output.write_end()});
    output.close_write_end();
    char bytes[64] = {};
    ASSERT_GT(read(output.read_end(), bytes, sizeof bytes - 1), 0);
    grandchild = std::atoi(bytes);
    ASSERT_GT(grandchild, 0);
  }
  EXPECT_FALSE(is_alive(grandchild));
}

TEST(ChildProcess, SaysWhyItCannotBeExecuted) {
  Pipe errors;
  ChildProcess child({{"/no/such/program"}, -1, errors.write_end()});
  errors.close_write_end();
  EXPECT_EQ(read_all(errors), "No such file or directory\n");
  while (!child.ended()) usleep(1000);
  EXPECT_EQ(child.ended(), 127);
}

}  // namespace
}  // namespace couplet
