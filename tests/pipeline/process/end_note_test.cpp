#include "pipeline/process/end_note.h"

#include "pipeline/process/log.h"
#include "storage/clock.h"
#include "storage/files/atomic_file.h"
#include "storage/host_name.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include <chrono>
#include <csignal>
#include <fstream>
#include <functional>
#include <string>
#include <thread>

namespace couplet {
namespace {

/// A directory of this test's own.
struct Scratch {
  fs::path path = fs::temp_directory_path() / ("couplet-end-note-" + std::to_string(::getpid()));
  Scratch() {
    fs::remove_all(path);
    fs::create_directories(path);
  }
  ~Scratch() { fs::remove_all(path); }
};

/// The notes are a process's own, so each case is one.
void in_a_child(const std::function<void()>& work) {
  const pid_t child = fork();
  if (child == 0) {
    work();
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
}

TEST(EndNote, IsWhatAScriptReads) {
  const Scratch scratch;
  const fs::path path = scratch.path / "note";
  in_a_child([&] {
    note_signal(SIGUSR1, false);  // before the file is known
    open_end_note(path);
    note_signal(SIGTERM, true);
    close_end_note();
    note_signal(SIGINT, false);
    note_success();
  });
  EXPECT_EQ(read_file(path),
            "{\"event\":\"signal\",\"signal\":\"USR1\"}\n"
            "{\"event\":\"again\",\"signal\":\"TERM\"}\n"
            "{\"event\":\"done\"}\n");
}

TEST(EndNote, AFailureIsOneLineWithItsFieldsInOrder) {
  const Scratch scratch;
  const fs::path path = scratch.path / "note";
  in_a_child([&] {
    open_end_note(path);
    note_failure(1, "rank 1: \"größe\" \\ two\nlines \xff");
  });
  EXPECT_EQ(read_file(path), "{\"event\":\"failed\",\"rank\":1,\"host\":\"" + host_name() +
                                 "\",\"message\":\"rank 1: \\\"größe\\\" \\\\ two lines \ufffd\"}\n");
}

/// Holds the lock of the whole file as long as it lives.
class Locked {
public:
  explicit Locked(const fs::path& path) : file_(::open(path.c_str(), O_RDWR | O_CREAT, 0644)) {
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    EXPECT_EQ(::fcntl(file_, F_SETLK, &lock), 0);
  }
  ~Locked() { ::close(file_); }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;
  int file() const { return file_; }

private:
  int file_;
};

// As ranks of two hosts write through NFS: each puts its line where it believes the end to be. 10a555e took no lock,
// and the lines overwrote each other.
TEST(EndNote, OfRanksOnSeveralHostsEachKeepsItsLine) {
  const Scratch scratch;
  const fs::path path = scratch.path / "note";
  const std::string theirs = "{\"event\":\"failed\"}\n";
  pid_t child = 0;
  {
    const Locked locked(path);
    const off_t end = ::lseek(locked.file(), 0, SEEK_END);
    child = fork();
    if (child == 0) {
      open_end_note(path);
      note_signal(SIGTERM, false);
      _exit(0);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    ASSERT_EQ(::pwrite(locked.file(), theirs.data(), theirs.size(), end), std::ssize(theirs));
  }
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_EQ(read_file(path), theirs + "{\"event\":\"signal\",\"signal\":\"TERM\"}\n");
}

TEST(EndNote, IsWrittenAllTheSameWhereTheLockDoesNotCome) {
  const Scratch scratch;
  const fs::path path = scratch.path / "note";
  const Locked locked(path);
  in_a_child([&] {
    open_end_note(path);
    note_success();
  });
  EXPECT_EQ(read_file(path), "{\"event\":\"done\"}\n");
}

TEST(Failure, IsKeptWithTheStageThatEndedByIt) {
  const Scratch scratch;
  const fs::path path = failure_path(scratch.path, "teacher");
  EXPECT_FALSE(read_failure(path));
  const double before = unix_now();
  in_a_child([&] {
    keep_failure_in(path);
    open_log("", "teacher", 2, 4);
    note_failure(2, "rank 2: disk full");
  });
  const auto failure = read_failure(path);
  ASSERT_TRUE(failure);
  EXPECT_GE(failure->time, before);
  EXPECT_LE(failure->time, unix_now());
  EXPECT_EQ(failure->stage, "teacher");
  EXPECT_EQ(failure->rank, 2);
  EXPECT_EQ(failure->host, host_name());
  EXPECT_EQ(failure->message, "rank 2: disk full");
  EXPECT_EQ(std::distance(fs::directory_iterator(scratch.path), {}), 1) << "something is left beside it";
}

TEST(Failure, OfSeveralRanksTheFirstStays) {
  const Scratch scratch;
  const fs::path path = failure_path(scratch.path, "teacher");
  const auto fail_as = [&](int rank) {
    in_a_child([&] {
      keep_failure_in(path);
      note_failure(rank, "rank " + std::to_string(rank));
    });
  };
  fail_as(3);
  fail_as(1);  // a process of the same time: children share when they were started
  EXPECT_EQ(read_failure(path).value().rank, 3);
  std::ofstream(path) << nlohmann::json{{"time", 1.0}, {"stage", ""}, {"rank", 7}, {"host", ""}, {"message", ""}};
  fail_as(1);  // the other is of a job before
  EXPECT_EQ(read_failure(path).value().rank, 1);
}

TEST(Failure, WithoutItsDirectoryNothingIsMade) {
  const Scratch scratch;
  in_a_child([&] {
    keep_failure_in(failure_path(scratch.path / "absent", "teacher"));
    note_failure(0, "refused");
  });
  EXPECT_FALSE(fs::exists(scratch.path / "absent"));
}

TEST(Failure, WhatIsDamagedIsNone) {
  const Scratch scratch;
  const fs::path path = scratch.path / "x.failure";
  for (const char* text : {"", "words\n", "{\"time\":1", "{\"time\":1,\"rank\":\"one\"}\n", "[]\n"}) {
    std::ofstream(path) << text;
    EXPECT_FALSE(read_failure(path)) << text;
  }
}

}  // namespace
}  // namespace couplet
