#include "storage/files/file_lock.h"

#include "storage/error.h"

#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>
#include <chrono>
#include <csignal>
#include <fstream>
#include <functional>

namespace couplet {
namespace {

/// Another process that holds a lock until it is killed.
class Holder {
public:
  Holder(const std::filesystem::path& path, LockMode mode) {
    int ends[2];
    if (pipe(ends) != 0) fail("no pipe");
    pid_ = fork();
    if (pid_ == 0) {
      try {
        const FileLock lock(path, mode, "test");
        char byte = 1;
        if (write(ends[1], &byte, 1) == 1) pause();
      } catch (...) {
      }
      _exit(1);
    }
    char byte = 0;
    close(ends[1]);
    holds_ = read(ends[0], &byte, 1) == 1;
    close(ends[0]);
  }
  ~Holder() { end(); }
  void end() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  bool holds() const { return holds_; }
  pid_t pid() const { return pid_; }

private:
  pid_t pid_ = -1;
  bool holds_ = false;
};

class Lock : public testing::Test {
protected:
  Lock() : path_(std::filesystem::path(testing::TempDir()) / "lock_test") { std::filesystem::remove(path_); }
  ~Lock() override { std::filesystem::remove(path_); }

  /// What the refusal to lock says; "" if the lock is had.
  std::string refusal(LockMode mode, double wait_seconds = 0) const {
    try {
      const FileLock lock(path_, mode, "run directory X", wait_seconds);
      return "";
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), exit_failed);
      return error.what();
    }
  }

  std::filesystem::path path_;
};

TEST_F(Lock, HasOneOwner) {
  Holder holder(path_, LockMode::exclusive);
  ASSERT_TRUE(holder.holds());
  const std::string message = refusal(LockMode::exclusive);
  EXPECT_NE(message.find("run directory X is in use by process " + std::to_string(holder.pid())), std::string::npos)
      << message;
  char host[256] = {};
  gethostname(host, sizeof host - 1);
  EXPECT_NE(message.find(host), std::string::npos) << message;
  EXPECT_NE(refusal(LockMode::shared), "");
  EXPECT_NE(FileLock::holder(path_), "");
}

TEST_F(Lock, IsLookedAtWithoutATrace) {
  FileLock::require_free(path_, "the run");
  EXPECT_FALSE(std::filesystem::exists(path_));
  for (const LockMode mode : {LockMode::exclusive, LockMode::shared}) {
    const Holder holder(path_, mode);
    ASSERT_TRUE(holder.holds());
    try {
      FileLock::require_free(path_, "the run");
      ADD_FAILURE() << "the lock is held";
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("the run is in use by process"), std::string::npos) << error.what();
    }
  }
  FileLock::require_free(path_, "the run");
}

TEST_F(Lock, EndsWithItsHolder) {
  Holder holder(path_, LockMode::exclusive);
  ASSERT_TRUE(holder.holds());
  holder.end();
  EXPECT_EQ(FileLock::holder(path_), "");
  EXPECT_EQ(refusal(LockMode::exclusive), "");
}

TEST_F(Lock, WaitsForHoldersToGo) {
  Holder holder(path_, LockMode::shared);
  ASSERT_TRUE(holder.holds());
  const auto start = std::chrono::steady_clock::now();
  EXPECT_NE(refusal(LockMode::exclusive, 0.2), "");
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(200));
  const pid_t killer = fork();
  if (killer == 0) {
    usleep(200'000);
    kill(holder.pid(), SIGKILL);
    _exit(0);
  }
  EXPECT_EQ(refusal(LockMode::exclusive, 30), "");
  waitpid(killer, nullptr, 0);
}

TEST_F(Lock, SharedOnesCoexist) {
  Holder one(path_, LockMode::shared), two(path_, LockMode::shared);
  EXPECT_TRUE(one.holds());
  EXPECT_TRUE(two.holds());
  EXPECT_EQ(refusal(LockMode::shared), "");
  one.end();
  const std::string message = refusal(LockMode::exclusive);
  EXPECT_NE(message.find("process " + std::to_string(two.pid())), std::string::npos) << message;
}

TEST_F(Lock, BecomesShared) {
  FileLock lock(path_, LockMode::exclusive, "test");
  EXPECT_FALSE(Holder(path_, LockMode::shared).holds());
  lock.share();
  EXPECT_TRUE(Holder(path_, LockMode::shared).holds());
  EXPECT_FALSE(Holder(path_, LockMode::exclusive).holds());
}

TEST_F(Lock, MovesWithItsObject) {
  FileLock first(path_, LockMode::exclusive, "test");
  {
    const FileLock second(std::move(first));
    EXPECT_FALSE(Holder(path_, LockMode::shared).holds());
  }
  EXPECT_TRUE(Holder(path_, LockMode::shared).holds());
}

TEST_F(Lock, ADirectoryThatIsMissingIsNamed) {
  try {
    const FileLock lock("/does/not/exist/lock", LockMode::exclusive, "test");
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("/does/not/exist/lock"), std::string::npos);
  }
  EXPECT_EQ(FileLock::holder("/does/not/exist/lock"), "");
}

}  // namespace
}  // namespace couplet
