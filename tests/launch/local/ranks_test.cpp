// How many ranks share a host and how many threads each has, from what Slurm and mpirun tell a rank.
#include "launch/local/ranks.h"
#include "pipeline/process/host.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <string>

namespace couplet {
namespace {

/// As if a launcher had set these variables and no others of its kind.
void launch_with(const std::map<std::string, std::string>& variables) {
  for (const char* name : {"OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS", "PMIX_RANK", "PMI_RANK",
                           "SLURM_STEP_TASKS_PER_NODE", "SLURM_NODEID", "SLURM_CPUS_PER_TASK"})
    ::unsetenv(name);
  for (const auto& [name, value] : variables) ::setenv(name.c_str(), value.c_str(), 1);
}

TEST(TaskEnvironment, RanksOfThisHost) {
  launch_with({});
  EXPECT_EQ(local_ranks(), 1);
  EXPECT_FALSE(is_launchers_child());
  launch_with({{"OMPI_COMM_WORLD_LOCAL_SIZE", "4"}});
  EXPECT_EQ(local_ranks(), 4);
  launch_with({{"MPI_LOCALNRANKS", "3"}, {"PMI_RANK", "2"}});  // Hydra
  EXPECT_EQ(local_ranks(), 3);
  EXPECT_TRUE(is_launchers_child());
  // srun: 2 tasks on each of the first three nodes, 1 on the last.
  for (const auto& [node, ranks] : std::map<std::string, int>{{"0", 2}, {"2", 2}, {"3", 1}}) {
    launch_with({{"PMIX_RANK", "0"}, {"SLURM_STEP_TASKS_PER_NODE", "2(x3),1"}, {"SLURM_NODEID", node}});
    EXPECT_EQ(local_ranks(), ranks) << "node " << node;
  }
}

TEST(TaskEnvironment, AnAllocationWithoutALauncherIsOneRank) {
  launch_with({{"SLURM_STEP_TASKS_PER_NODE", "8"}, {"SLURM_NODEID", "0"}});
  EXPECT_EQ(local_ranks(), 1);
}

TEST(TaskEnvironment, ThreadsAreTheTasksCpus) {
  PipelineConfig pipeline;
  launch_with({{"SLURM_CPUS_PER_TASK", "7"}});
  EXPECT_EQ(resolve_task_threads(pipeline, 2), 7);
  pipeline.threads = 3;
  EXPECT_EQ(resolve_task_threads(pipeline, 2), 3);
}

TEST(TaskEnvironment, WithoutThemCoresAreShared) {
  launch_with({});
  EXPECT_EQ(resolve_task_threads({}, usable_cores()), 1);
  EXPECT_EQ(resolve_task_threads({}, 1), usable_cores());
}

}  // namespace
}  // namespace couplet
