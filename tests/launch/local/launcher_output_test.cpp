#include "launch/local/launcher_output.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>

namespace couplet {
namespace {

const std::string rule = std::string(74, '-') + "\n";

TEST(LauncherOutput, HandsOnWhatRanksSayInWholeLines) {
  LauncherOutput output("mpirun");
  EXPECT_EQ(output.take("teacher: warn"), "");
  EXPECT_EQ(output.take("ing: slow\ncouplet: ra"), "teacher: warning: slow\n");
  EXPECT_FALSE(output.rank_has_told());
  EXPECT_EQ(output.take("nk 1: bad shard"), "");
  EXPECT_EQ(output.take_rest(), "couplet: rank 1: bad shard\n");
  EXPECT_TRUE(output.rank_has_told());
  EXPECT_EQ(output.take_rest(), "");
  EXPECT_EQ(output.own_words(), "");
}

TEST(LauncherOutput, KeepsBackWhatTheLauncherSaysItself) {
  LauncherOutput output("mpirun");
  const std::string text =
      rule +
      "Your job has requested more processes than the ppr for\nthis topology can support:\n\n  App: "
      "couplet\n" +
      rule + "mpirun: Forwarding signal 10 to job\na rank's line\n" +
      "[n1:7] 1 more process has sent help message help-mpi-btl-base.txt / btl:no-nics\n" +
      "mpirun: abort is already in progress\n";
  std::string of_ranks;
  for (const char letter : text) of_ranks += output.take({&letter, 1});
  EXPECT_EQ(of_ranks, "a rank's line\n");
  EXPECT_EQ(output.own_words(),
            "Your job has requested more processes than the ppr for this topology can support: App: couplet mpirun: "
            "abort is already in progress");
  EXPECT_FALSE(output.rank_has_told());
}

TEST(LauncherOutput, KeepsBackWhatHydraSaysItself) {
  LauncherOutput output("mpiexec.hydra");
  std::string line(83, '=');
  line += '\n';
  EXPECT_EQ(
      output.take("\n" + line + "=   BAD TERMINATION OF ONE OF YOUR APPLICATION PROCESSES\n=   EXIT CODE: 9\n" + line +
                  "YOUR APPLICATION TERMINATED WITH THE EXIT STRING: Killed (signal 9)\n"
                  "a rank's line\n[proxy:0:0@n1] it is gone\n"),
      "\na rank's line\n");
  EXPECT_EQ(
      output.own_words(),
      "= BAD TERMINATION OF ONE OF YOUR APPLICATION PROCESSES = EXIT CODE: 9 YOUR APPLICATION TERMINATED WITH THE EXIT "
      "STRING: Killed (signal 9) [proxy:0:0@n1] it is gone");
  EXPECT_EQ(output.take(
                "Abort(1) on node 1 (rank 1 in comm 0): application called MPI_Abort(MPI_COMM_WORLD, 1) - process 1\n"),
            "");
}

TEST(LauncherOutput, DashesOfARankAreNoRule) {
  LauncherOutput output("mpirun");
  EXPECT_EQ(output.take("----\n--- a table ---\n"), "----\n--- a table ---\n");
}

TEST(LauncherOutput, OneLaunchersRuleIsARanksLineBeneathAnother) {
  const std::string mpichs_rule = fmt::format("{:=<83}\n", "");
  for (const auto& [launcher, line] : {std::pair{"mpirun", mpichs_rule}, std::pair{"mpiexec.hydra", rule}}) {
    LauncherOutput output(launcher);
    const std::string beneath = fmt::format("{}a rank's line\n", line);
    EXPECT_EQ(output.take(beneath), beneath);
    EXPECT_EQ(output.own_words(), "");
  }
}

}  // namespace
}  // namespace couplet
