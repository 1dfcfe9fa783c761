#include "pipeline/liveness/lookout.h"

#include "tests/pipeline/liveness/simulated_job.h"

#include <gtest/gtest.h>

#include <functional>
#include <optional>

namespace couplet {
namespace {

using State = Activity::State;

// As in a job of 640 nodes: they write every 10 s, and ranks look every 40 s from the 300th second on and in the 580th.
constexpr Patience patience{.timeout = 600, .nodes = 640};
constexpr double timeout = patience.timeout, step = 5;

Activity waiting(double seconds) {
  return {State::waiting, seconds, 17, 17, "barrier", ""};
}

/// What a rank does at a time, in seconds; nothing: it gives no sign of life.
using Behaviour = std::function<std::optional<Activity>(int rank, double time)>;

struct Verdict {
  int rank = -1;  ///< that gives it
  double time = 0;
  std::string reason;
};

/// Ranks that behave so from time 0 on, and a lookout for each that lives.
class Watch {
public:
  Watch(const std::vector<int>& ranks_of_nodes, Behaviour behaviour)
      : job_(ranks_of_nodes), behaviour_(std::move(behaviour)), opened(job_.directory) {
    for (const JobHeartbeats& rank : job_.ranks) lookouts_.emplace_back(rank, patience);
  }

  /// The first verdict until `end`; its rank is -1 if there is none.
  Verdict verdict(double end) {
    for (double time = 0; time <= end; time += step) {
      for (JobHeartbeats& rank : job_.ranks)
        if (const auto activity = behaviour_(rank.rank(), time)) {
          rank.tell(SimulatedJob::heartbeat(rank.rank(), static_cast<std::int64_t>(time / step) + 1, *activity));
          rank.take_turn(SimulatedJob::at(time), 0.9 * patience.period());
        }
      for (std::size_t rank = 0; rank < lookouts_.size(); ++rank) {
        const auto activity = behaviour_(static_cast<int>(rank), time);
        if (!activity) continue;
        const Heartbeat own = SimulatedJob::heartbeat(static_cast<int>(rank), 1, *activity);
        if (const auto reason = lookouts_[rank].look(own, SimulatedJob::at(time)))
          return {static_cast<int>(rank), time, *reason};
        opened.count();
      }
    }
    return {};
  }

private:
  SimulatedJob job_;
  Behaviour behaviour_;
  std::vector<Lookout> lookouts_;

public:
  OpenedFiles opened;
};

void expect_part(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << text << "\nnot found: " << part;
}

/// How often each of four nodes' files is read in 20 minutes in which rank `last` works alone and all others wait.
std::vector<int> reads_of_four_nodes(int ranks_of_node) {
  const int last = 4 * ranks_of_node - 1;
  Watch watch(std::vector<int>(4, ranks_of_node), [&](int rank, double time) -> std::optional<Activity> {
    if (rank == last) return Activity{State::alone, time, 16, 0, "hashing", ""};
    return waiting(time);
  });
  EXPECT_EQ(watch.verdict(1200).reason, "");
  std::vector<int> reads;
  for (int node = 0; node < 4; ++node) reads.push_back(watch.opened.read[fmt::format("job.{}", node * ranks_of_node)]);
  return reads;
}

// The first rank reads the other nodes' files; one rank of each other node that has waiting ranks sees in the file of
// the node before that somebody waits there.
TEST(Lookout, LooksCostTheSameHoweverManyRanksANodeHas) {
  const std::vector<int> few = reads_of_four_nodes(1), many = reads_of_four_nodes(20);
  const int looks = few[0];
  EXPECT_GE(looks, 23);
  EXPECT_LE(looks, 24);
  EXPECT_EQ(few, (std::vector<int>{looks, 2 * looks, looks, looks})) << "the fourth node's only rank does not wait";
  EXPECT_EQ(many, (std::vector<int>{looks, 2 * looks, 2 * looks, looks}));
}

TEST(Lookout, LooksCostTheSameWhereTheFirstNodesWork) {
  Watch watch(std::vector<int>(16, 1), [](int rank, double time) -> std::optional<Activity> {
    return rank < 8 ? Activity{State::alone, time, 16, 0, "hashing", ""} : waiting(time);
  });
  EXPECT_EQ(watch.verdict(1200).reason, "");
  int reads = 0;
  for (const auto& [file, times] : watch.opened.read) reads += times;
  EXPECT_LE(reads, 24 * (15 + 7)) << "one rank reads all files, and each other one that waits the file before its own";
}

// Rank 1 has waited from the start on; rank 0, which looks, came when half of the timeout was nearly over.
TEST(Lookout, JudgesForTheRankThatHasWaitedLongest) {
  Watch watch({1, 1, 1}, [](int rank, double time) -> std::optional<Activity> {
    if (rank == 2) return Activity{State::computing, time, 16, 0, "", ""};
    return rank == 0 && time < 270 ? Activity{State::computing, time, 16, 0, "", ""}
                                   : waiting(rank == 0 ? time - 270 : time);
  });
  const Verdict verdict = watch.verdict(1200);
  EXPECT_EQ(verdict.rank, 0);
  expect_part(verdict.reason, "rank 2 did not arrive");
  EXPECT_LE(verdict.time, timeout + patience.look());
}

TEST(Lookout, NamesTheRankThatComputes) {
  Watch watch({2, 2}, [](int rank, double time) -> std::optional<Activity> {
    return rank == 3 ? Activity{State::computing, time, 16, 0, "", "step 12 of 40"} : waiting(time);
  });
  const Verdict verdict = watch.verdict(timeout);
  EXPECT_EQ(verdict.rank, 0);
  expect_part(verdict.reason, "rank 3 did not arrive at barrier (collective 17)");
  expect_part(verdict.reason, "(step 12 of 40)");
}

TEST(Lookout, IsAnotherRanksWhereTheLowestIsGone) {
  Watch watch({2, 2}, [](int rank, double time) -> std::optional<Activity> {
    return rank == 0 ? std::nullopt : std::optional(waiting(time));
  });
  const Verdict verdict = watch.verdict(timeout);
  EXPECT_EQ(verdict.rank, 1);
  expect_part(verdict.reason, "rank 0 did not arrive");
  expect_part(verdict.reason, "never given a sign of life");
}

TEST(Lookout, IsAnotherNodesWhereTheFirstIsGone) {
  Watch watch({3, 3, 3}, [](int rank, double time) -> std::optional<Activity> {
    if (rank < 3 && time >= 100) return std::nullopt;
    return waiting(time);
  });
  const Verdict verdict = watch.verdict(timeout);
  EXPECT_EQ(verdict.rank, 3);
  for (int rank = 0; rank < 3; ++rank) expect_part(verdict.reason, fmt::format("rank {} did not arrive", rank));
  expect_part(verdict.reason, "gives no sign of life");
  EXPECT_EQ(verdict.reason.find("rank 4"), std::string::npos) << verdict.reason;
}

// It has looked for all, and is stopped; meanwhile a rank hangs that it would have named.
TEST(Lookout, GoesOnWhereTheOneThatLookedIsStopped) {
  Watch watch({1, 1, 1}, [](int rank, double time) -> std::optional<Activity> {
    if (rank == 0 && time >= 400) return std::nullopt;
    return rank == 2 ? Activity{State::computing, time, 16, 0, "", ""} : waiting(time);
  });
  const Verdict verdict = watch.verdict(timeout);
  EXPECT_EQ(verdict.rank, 1);
  expect_part(verdict.reason, "rank 0 did not arrive");
  expect_part(verdict.reason, "rank 2 did not arrive");
}

}  // namespace
}  // namespace couplet
