#include "launch/local/ranks.h"

#include "launch/local/child_process.h"
#include "pipeline/distributed/cuda_library.h"
#include "pipeline/distributed/device.h"
#include "pipeline/distributed/make_communicator.h"
#include "pipeline/process/host.h"

#include <fmt/format.h>
#include <unistd.h>
#include <algorithm>
#include <cstdlib>
#include <regex>
#include <string>

namespace couplet {

namespace {

/// "2(x3),1": two tasks on each of three nodes, one on the next.
std::int64_t tasks_of_node(const std::string& text, std::int64_t node) {
  static const std::regex group("([0-9]+)(?:\\(x([0-9]+)\\))?");
  std::int64_t tasks = 1;
  for (std::sregex_iterator match(text.begin(), text.end(), group), end; match != end && node >= 0; ++match) {
    tasks = std::stoll((*match)[1]);
    node -= (*match)[2].matched ? std::stoll((*match)[2]) : 1;
  }
  return std::max<std::int64_t>(1, tasks);
}

/// What mpirun or Hydra says of the number of ranks on this host; null: neither started this process.
const char* launchers_local_ranks() {
  const char* const by_mpirun = std::getenv("OMPI_COMM_WORLD_LOCAL_SIZE");
  return by_mpirun ? by_mpirun : std::getenv("MPI_LOCALNRANKS");
}

}  // namespace

std::int64_t resolve_ranks(const PipelineConfig& pipeline) {
  if (pipeline.ranks > 0) return pipeline.ranks;
  if (resolve_device(pipeline.device) == "cuda") return std::max(1, find_cuda().devices);
  return std::min<std::int64_t>(2, usable_cores());
}

std::int64_t resolve_threads(const PipelineConfig& pipeline, std::int64_t local_ranks) {
  if (pipeline.threads > 0) return pipeline.threads;
  return std::max<std::int64_t>(1, usable_cores() / local_ranks);
}

std::int64_t local_ranks() {
  if (const char* text = launchers_local_ranks()) return std::max(1, std::atoi(text));
  const char* tasks = std::getenv("SLURM_STEP_TASKS_PER_NODE");
  const char* node = std::getenv("SLURM_NODEID");
  // Only srun's own tasks have a rank of PMI.
  const bool by_srun = std::getenv("PMIX_RANK") || std::getenv("PMI_RANK");
  return by_srun && tasks && node ? tasks_of_node(tasks, std::atoll(node)) : 1;
}

bool is_launchers_child() {
  return launchers_local_ranks() != nullptr;
}

std::vector<std::string> launcher_words(std::int64_t ranks) {
  if (ranks == 1) return {};
  std::vector<std::string> words;
  if (is_open_mpi()) {
    words = {find_program("mpirun", "install Open MPI, or run with --ranks 1").string(), "--oversubscribe"};
  } else {
    // Where Open MPI stands beside MPICH, `mpiexec` may be its.
    const auto hydra = find_on_path("mpiexec.hydra");
    const std::string need = "put the mpiexec of " + mpi_name() + " on PATH, or run with --ranks 1";
    words = {(hydra.empty() ? find_program("mpiexec", need) : hydra).string()};
  }
  words.insert(words.end(), {"--bind-to", "none", "-n", fmt::format("{}", ranks)});
  return words;
}

std::int64_t resolve_task_threads(const PipelineConfig& pipeline, std::int64_t local_ranks) {
  const char* text = std::getenv("SLURM_CPUS_PER_TASK");
  const std::int64_t given = text ? std::atoll(text) : 0;
  if (pipeline.threads > 0 || given <= 0) return resolve_threads(pipeline, local_ranks);
  return given;
}

void set_rank_environment(std::int64_t ranks, std::int64_t threads) {
  if (ranks == 1) forget_launcher();
  ::setenv("OMP_NUM_THREADS", fmt::format("{}", threads).c_str(), 1);
  // Threads that wait for their next piece of work take the cores from those that work, where there are too few.
  if (ranks * threads > usable_cores()) ::setenv("OMP_WAIT_POLICY", "passive", 0);
  if (::geteuid() == 0) {
    ::setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
    ::setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
  }
}

}  // namespace couplet
