#include "storage/files/atomic_file.h"

#include "tests/storage/storage_testing.h"

#include <sys/stat.h>

#include <algorithm>
#include <random>

namespace couplet::testing {
namespace {

std::string partial_name(const std::string& host, long pid, const std::string& name) {
  return ".partial-" + host + "-" + std::to_string(pid) + "-0-" + name;
}

std::string host_name() {
  char name[256] = {};
  ::gethostname(name, sizeof name - 1);
  return name;
}

TEST(AtomicFile, PublishesAndReplacesAFile) {
  const Folder folder;
  publish_file(folder / "a", "first");
  EXPECT_EQ(read_file(folder / "a"), "first");
  publish_file(folder / "a", std::string("se\0cond", 7));
  EXPECT_EQ(read_file(folder / "a"), std::string("se\0cond", 7));
  publish_file(folder / "a", "");
  EXPECT_EQ(read_file(folder / "a"), "");
  EXPECT_EQ(folder.names(), std::vector<std::string>{"a"});
}

TEST(AtomicFile, TemporaryStandsBesideAndGoesWithoutCommit) {
  const Folder folder;
  publish_file(folder / "a", "old");
  {
    const Pending pending(folder / "a");
    EXPECT_EQ(pending.path().parent_path(), folder.path());
    const std::string name = pending.path().filename().string();
    EXPECT_TRUE(name.starts_with(".partial-" + host_name() + "-" + std::to_string(::getpid()) + "-")) << name;
    EXPECT_TRUE(name.ends_with("-a")) << name;
    write_bytes(pending.path(), "new");
    EXPECT_EQ(read_file(folder / "a"), "old");
  }
  EXPECT_EQ(read_file(folder / "a"), "old");
  EXPECT_EQ(folder.names(), std::vector<std::string>{"a"});
}

TEST(AtomicFile, PublishesADirectoryAndReplacesItOnlyWhenAsked) {
  const Folder folder;
  const auto publish = [&](const std::string& text, bool replace) {
    Pending pending(folder / "artifact/");
    fs::create_directories(pending.path() / "inner");
    write_bytes(pending.path() / "inner" / "file", text);
    pending.commit(replace);
  };
  publish("one", false);
  expect_error([&] { publish("two", false); }, {"artifact", "exists already"});
  EXPECT_EQ(read_file(folder / "artifact/inner/file"), "one");
  publish("three", true);
  EXPECT_EQ(read_file(folder / "artifact/inner/file"), "three");
  EXPECT_EQ(folder.names(), std::vector<std::string>{"artifact"});
  expect_error([&] { publish_file(folder / "artifact", "x"); }, {"artifact", "exists already"});
}

TEST(AtomicFile, PublishesADirectoryOfManyFiles) {
  const Folder folder;
  Pending pending(folder / "many");
  fs::create_directories(pending.path() / "inner");
  for (int i = 0; i < 600; ++i)
    write_bytes(pending.path() / (i % 2 ? "inner" : "") / std::to_string(i), std::to_string(i));
  pending.commit();
  for (int i = 0; i < 600; ++i)
    EXPECT_EQ(read_file(folder / "many" / (i % 2 ? "inner" : "") / std::to_string(i)), std::to_string(i));
  EXPECT_EQ(folder.names(), std::vector<std::string>{"many"});
}

TEST(AtomicFile, PublishesUnderTheLongestName) {
  const Folder folder;
  const std::string longest(255, 'a');
  publish_file(folder / longest, "x");
  EXPECT_EQ(folder.names(), std::vector<std::string>{longest});
  expect_error([&] { Pending(folder / (longest + "a")); }, {longest + "a", "File name too long", "another name"});
}

TEST(AtomicFile, WhatAKilledProcessMovedAwayComesBack) {
  const Folder folder;
  const pid_t dead = ::fork();
  if (dead == 0) std::_Exit(0);
  ::waitpid(dead, nullptr, 0);
  const auto moved_away = [&](int number, const std::string& name) {
    const fs::path holder = folder / fmt::format(".replaced-{}-{}-{}-{}", host_name(), dead, number, name);
    fs::create_directories(holder / name);
    write_bytes(holder / name / "file", "old");
  };
  moved_away(0, "lost");
  moved_away(1, "replaced");
  fs::create_directory(folder / "replaced");
  write_bytes(folder / "replaced/file", "new");
  remove_leftovers(folder.path(), Ownership::shared);
  auto names = folder.names();
  std::ranges::sort(names);
  EXPECT_EQ(names, (std::vector<std::string>{"lost", "replaced"}));
  EXPECT_EQ(read_file(folder / "lost/file"), "old");
  EXPECT_EQ(read_file(folder / "replaced/file"), "new");
}

TEST(AtomicFile, ErrorsNamePathAndReason) {
  const Folder folder;
  expect_error([&] { publish_file(folder / "no/file", "x"); }, {"no/file", "there is no directory"});
  expect_error([&] { read_file(folder / "none"); }, {"none", "No such file or directory"});
  expect_error([&] { Pending(folder / "a").commit(); }, {"No such file or directory"});
  expect_error([&] { Pending("/"); }, {"no name to publish under"});
  require_free_space(folder.path(), 1, "the table");
  expect_error([&] { require_free_space(folder.path(), std::uint64_t{1} << 60, "the table"); },
               {folder.path().string(), "the table needs 1152921504606846976 bytes", "free"});
}

TEST(AtomicFile, APipeIsAnErrorAndNotWaitedFor) {
  const Folder folder;
  ASSERT_EQ(::mkfifo((folder / "a").c_str(), 0600), 0);
  expect_error([&] { read_file(folder / "a"); }, {(folder / "a").string(), "no regular file", "pipe"});
}

TEST(AtomicFile, LeftoversOfDeadProcessesGo) {
  const Folder folder;
  const pid_t dead = ::fork();
  if (dead == 0) std::_Exit(0);
  ::waitpid(dead, nullptr, 0);
  write_bytes(folder / partial_name(host_name(), dead, "a"), "x");
  fs::create_directories(folder / partial_name(host_name(), dead, "b") / "inner");
  write_bytes(folder / partial_name("another-host", 1, "a"), "x");
  write_bytes(folder / "kept", "x");
  const std::string running = partial_name(host_name(), ::getppid(), "a");
  write_bytes(folder / running, "x");
  remove_leftovers(folder.path());
  auto names = folder.names();
  std::ranges::sort(names);
  EXPECT_EQ(names, (std::vector<std::string>{running, "kept"}));
}

TEST(AtomicFile, LeftoversOfAKilledProcessGoBeforeItsParentAsksAfterIt) {
  const Folder folder;
  const pid_t killed = ::fork();
  if (killed == 0) {
    ::pause();
    std::_Exit(0);
  }
  ::kill(killed, SIGKILL);
  siginfo_t info{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(killed), &info, WEXITED | WNOWAIT), 0);  // dead, and still a process
  write_bytes(folder / partial_name(host_name(), killed, "a"), "x");
  remove_leftovers(folder.path());
  EXPECT_TRUE(folder.names().empty());
  ::waitpid(killed, nullptr, 0);
}

TEST(AtomicFile, TwoPendingOfOneNameDoNotMeet) {
  const Folder folder;
  Pending first(folder / "a"), second(folder / "a");
  EXPECT_NE(first.path(), second.path());
  write_bytes(first.path(), "1");
  write_bytes(second.path(), "2");
  second.commit();
  first.commit();
  EXPECT_EQ(read_file(folder / "a"), "1");
}

TEST(AtomicFile, KilledPublishersLeaveWholeFiles) {
  const Folder folder;
  const auto content = [](int i) {
    return std::string(static_cast<std::size_t>(10'000 + i % 7), static_cast<char>('a' + i % 7));
  };
  publish_file(folder / "a", content(0));
  std::mt19937_64 random(1);
  for (int round = 0; round < 30; ++round) {
    int i = 0;
    kill_in_midst([&] { publish_file(folder / "a", content(++i)); }, static_cast<unsigned>(random() % 10'000));
    const std::string found = read_file(folder / "a");
    ASSERT_GE(found.size(), 10'000u);
    EXPECT_EQ(found, content(static_cast<int>(found.size() - 10'000)));
  }
  remove_leftovers(folder.path());
  EXPECT_EQ(folder.names(), std::vector<std::string>{"a"});
}

TEST(AtomicFile, KilledPublishersLeaveWholeDirectories) {
  const Folder folder;
  const auto publish = [&](int i) {
    Pending pending(folder / "a");
    fs::create_directory(pending.path());
    for (const char* name : {"one", "two"}) publish_file(pending.path() / name, std::to_string(i));
    pending.commit(true);
  };
  publish(0);
  std::mt19937_64 random(2);
  for (int round = 0; round < 30; ++round) {
    int i = 0;
    kill_in_midst([&] { publish(++i); }, static_cast<unsigned>(random() % 10'000));
    EXPECT_EQ(read_file(folder / "a/one"), read_file(folder / "a/two"));
  }
}

TEST(AtomicFile, FullDiskLeavesTheOldFile) {
  const Folder folder, messages;
  publish_file(folder / "a", "old");
  const int status = run_in_child(messages / "message", [&] {
    limit_file_size(1000);
    publish_file(folder / "a", std::string(5000, 'x'));
  });
  EXPECT_EQ(WEXITSTATUS(status), 99);
  const std::string message = read_bytes(messages / "message");
  EXPECT_NE(message.find("-a: cannot write 4000 bytes at byte 1000: File too large"), std::string::npos) << message;
  EXPECT_EQ(read_file(folder / "a"), "old");
  EXPECT_EQ(folder.names(), std::vector<std::string>{"a"});
}

}  // namespace
}  // namespace couplet::testing
