#include "pipeline/liveness/job_heartbeats.h"

#include "tests/pipeline/liveness/simulated_job.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <set>

namespace couplet {
namespace {

constexpr double period = 1;

/// All ranks tell of themselves twice a second for 20 seconds. Returns how often each file was written.
std::map<std::string, int> written_in_20_seconds(SimulatedJob& job) {
  OpenedFiles opened(job.directory);
  for (std::int64_t number = 1; number <= 40; ++number)
    for (JobHeartbeats& rank : job.ranks) {
      rank.tell(SimulatedJob::heartbeat(rank.rank(), number));
      rank.take_turn(SimulatedJob::at(0.5 * static_cast<double>(number)), 0.9 * period);
      opened.count();
    }
  EXPECT_TRUE(opened.read.empty());
  return opened.written;
}

/// The numbers of the heartbeats of a node, as `reader` sees them.
std::vector<std::int64_t> numbers(const JobHeartbeats& reader, std::size_t node) {
  std::vector<std::int64_t> numbers;
  for (const Heartbeat& heartbeat : reader.read(node)) numbers.push_back(heartbeat.number);
  return numbers;
}

TEST(JobHeartbeats, CostAFileANodeAndAWriteAPeriodHoweverManyRanks) {
  SimulatedJob few({1, 1}), many({100, 30});
  const std::map<std::string, int> once_a_second{{"job.0", 20}, {"job.1", 20}};
  EXPECT_EQ(written_in_20_seconds(few), once_a_second);
  EXPECT_EQ(written_in_20_seconds(many), (std::map<std::string, int>{{"job.0", 20}, {"job.100", 20}}));
  std::set<std::string> files;
  for (const auto& entry : fs::directory_iterator(many.directory)) files.insert(entry.path().filename().string());
  EXPECT_EQ(files, (std::set<std::string>{"job.0", "job.100"}));
}

TEST(JobHeartbeats, ReachAllRanksAndAnyProcess) {
  SimulatedJob job({100, 30});
  written_in_20_seconds(job);
  const auto ranks_of = [&](int reader, std::size_t node) {
    std::vector<int> ranks;
    for (const Heartbeat& heartbeat : job.ranks[static_cast<std::size_t>(reader)].read(node)) {
      ranks.push_back(heartbeat.rank);
      EXPECT_GE(heartbeat.number, 38) << "told a period ago at most";
    }
    return ranks;
  };
  for (const int reader : {3, 110}) {
    EXPECT_EQ(ranks_of(reader, 0), job.ranks[0].nodes()[0]);
    EXPECT_EQ(ranks_of(reader, 1), job.ranks[0].nodes()[1]);
  }
  OpenedFiles opened(job.directory);
  const auto all = HeartbeatFiles::read_all(job.directory, [](const std::string& name) { return name == "job"; });
  ASSERT_EQ(all.at("job").size(), 130U);
  for (int rank = 0; rank < 130; ++rank) EXPECT_EQ(all.at("job")[static_cast<std::size_t>(rank)].rank, rank);
  opened.count();
  EXPECT_EQ(opened.read, (std::map<std::string, int>{{"job.0", 1}, {"job.100", 1}}));
}

// A process of its own, which is killed when it has taken the turn and before it has written.
TEST(JobHeartbeats, AKilledWriterSilencesItselfAlone) {
  SimulatedJob job({3, 1});
  for (JobHeartbeats& rank : job.ranks) rank.tell(SimulatedJob::heartbeat(rank.rank(), 1));
  const pid_t writer = ::fork();
  if (writer == 0) {
    job.ranks[0].tell(SimulatedJob::heartbeat(0, 2));
    if (job.memories[0]->take_turn(SimulatedJob::at(1), 0.9 * period)) std::raise(SIGKILL);
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(writer, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
  for (const std::int64_t number : {2, 3, 4, 5})
    for (const std::size_t rank : {1, 2}) {
      job.ranks[rank].tell(SimulatedJob::heartbeat(static_cast<int>(rank), number));
      job.ranks[rank].take_turn(SimulatedJob::at(0.5 * static_cast<double>(number)), 0.9 * period);
    }
  EXPECT_EQ(numbers(job.ranks[1], 0), (std::vector<std::int64_t>{2, 5, 5}));
  const auto seen = numbers(job.ranks[3], 0);
  ASSERT_EQ(seen.size(), 3U);
  EXPECT_EQ(seen[0], 2);
  EXPECT_GE(std::min(seen[1], seen[2]), 3) << "the others' are written on";
}

TEST(JobHeartbeats, LeaveNothingInMemory) {
  const SimulatedJob job({2, 1});
  for (const std::string& name : job.names) EXPECT_FALSE(fs::exists(fs::path("/dev/shm") / name));
}

// As in containers that do not share /dev/shm, or where it is full.
TEST(JobHeartbeats, RanksWithoutCommonMemoryAreNodesOfTheirOwn) {
  const SimulatedJob job({1});
  std::vector<std::shared_ptr<NodeMemory>> memories;
  std::vector<std::string> identities;
  for (int rank = 0; rank < 2; ++rank) {
    memories.push_back(std::make_shared<NodeMemory>("no-such-folder/name", 2, heartbeat_bytes));
    identities.push_back(memories.back()->identity());
  }
  for (int rank = 0; rank < 2; ++rank) {
    JobHeartbeats heartbeats(*job.files, memories[static_cast<std::size_t>(rank)], identities, rank);
    heartbeats.tell(SimulatedJob::heartbeat(rank, 7));
    EXPECT_TRUE(heartbeats.take_turn(SimulatedJob::at(1), period));
  }
  for (int rank = 0; rank < 2; ++rank) {
    ASSERT_EQ(job.files->read(rank).size(), 1U);
    EXPECT_EQ(job.files->read(rank)[0].rank, rank);
  }
}

TEST(JobHeartbeats, OneOfANodeLearnsOfTheEndForAll) {
  SimulatedJob job({3, 3});
  EXPECT_TRUE(job.ranks[4].announce_end("rank 1 did not arrive"));
  EXPECT_FALSE(job.ranks[5].announce_end("rank 1 did not arrive"));
  for (const JobHeartbeats& rank : job.ranks) EXPECT_FALSE(rank.end_announced()) << "nobody has looked yet";
  EXPECT_TRUE(job.ranks[1].take_turn(SimulatedJob::at(1), period));
  EXPECT_FALSE(job.ranks[2].take_turn(SimulatedJob::at(1), period));
  for (std::size_t rank = 0; rank < 6; ++rank) EXPECT_EQ(job.ranks[rank].end_announced(), rank < 3) << rank;
  EXPECT_TRUE(job.ranks[5].take_turn(SimulatedJob::at(1), period));
  for (const JobHeartbeats& rank : job.ranks) EXPECT_TRUE(rank.end_announced());
}

/// The states of node 0's ranks, as its file tells them.
std::vector<Activity::State> states(const SimulatedJob& job) {
  std::vector<Activity::State> states;
  for (const Heartbeat& heartbeat : job.ranks[2].read(0)) states.push_back(heartbeat.activity.state);
  return states;
}

TEST(JobHeartbeats, TheLastOfANodeToLeaveWritesAtOnce) {
  constexpr auto works = Activity::State::computing, ended = Activity::State::ended;
  SimulatedJob job({2, 1});
  for (JobHeartbeats& rank : job.ranks) rank.tell(SimulatedJob::heartbeat(rank.rank(), 1));
  EXPECT_TRUE(job.ranks[0].take_turn(SimulatedJob::at(1), period));
  const auto leave = [&](std::size_t rank, double time) {
    job.ranks[rank].leave(SimulatedJob::heartbeat(static_cast<int>(rank), 2, {ended, 0, 0, 0, "", ""}),
                          SimulatedJob::at(time), period);
  };
  OpenedFiles opened(job.directory);
  leave(1, 1.2);
  EXPECT_EQ(states(job), (std::vector{works, works})) << "the file was written just before";
  EXPECT_TRUE(job.ranks[0].take_turn(SimulatedJob::at(2), period));
  EXPECT_EQ(states(job), (std::vector{works, ended}));
  leave(0, 2.1);
  EXPECT_EQ(states(job), (std::vector{ended, ended}));
  opened.count();
  EXPECT_LE(opened.written["job.0"], 2);
}

TEST(JobHeartbeats, WhatKeepsThemFromBeingWrittenIsKnown) {
  SimulatedJob job({1, 1});
  EXPECT_TRUE(job.ranks[0].take_turn(SimulatedJob::at(1), period));
  EXPECT_EQ(job.ranks[0].trouble(), "");
  fs::remove_all(job.directory);
  EXPECT_TRUE(job.ranks[0].take_turn(SimulatedJob::at(2), period));
  EXPECT_EQ(job.ranks[0].trouble(), "No such file or directory (errno 2)");
}

// Those that have opened it know it by what it holds, and where not all come to open it nothing is left of it.
TEST(JobHeartbeats, MemoryIsKnownByItselfAndLeavesNoName) {
  const std::string name = fmt::format("couplet-test-{}", ::getpid());
  {
    const NodeMemory one(name, 2, heartbeat_bytes), other(name, 2, heartbeat_bytes), own("no-such-folder/name", 2, 1);
    EXPECT_EQ(one.identity(), other.identity());
    EXPECT_NE(one.identity(), own.identity());
  }
  EXPECT_FALSE(fs::exists(fs::path("/dev/shm") / name));
}

}  // namespace
}  // namespace couplet
