#include "pipeline/distributed/make_communicator.h"

#include "pipeline/distributed/cuda_library.h"
#include "pipeline/distributed/device.h"
#include "pipeline/distributed/mpi_communicator.h"
#include "pipeline/distributed/nccl_communicator.h"
#include "storage/error.h"
#include "storage/host_name.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace couplet {
namespace {

bool started_by_mpi() {
  const auto set = [](const char* name) { return std::getenv(name) != nullptr; };
  return set("OMPI_COMM_WORLD_SIZE") || set("PMIX_RANK") || set("PMI_RANK");
}

/// Refuses several tasks that srun started and that know nothing of each other: each would do all of the work.
void refuse_lone_tasks() {
  const char* tasks = std::getenv("SLURM_STEP_NUM_TASKS");
  if (tasks && std::atoi(tasks) > 1)
    refuse("srun started {} tasks but no MPI among them; use srun --mpi=pmix (srun --mpi=list shows what there is)",
           tasks);
}

void say_once(const Communicator& communicator, const std::string& line) {
  if (communicator.is_root()) fmt::print(stderr, "{}\n", line);
}

/// How the ranks of a job on GPUs communicate: NCCL needs a GPU for each. Which ranks share one is told by where the
/// GPUs sit, not by their numbers: a rank may see its own alone (srun --gpus-per-task=1).
std::unique_ptr<Communicator> choose_for_cuda(std::unique_ptr<MpiCommunicator> mpi) {
  if (mpi->size() == 1) return mpi;
  const std::string own = fmt::format("{} of {}", find_cuda().library->place_of(gpu_number(*mpi)), host_name());
  const std::vector<std::string> gpus = mpi->gather_text(own);
  for (std::size_t rank = 0; rank < gpus.size(); ++rank) {
    const auto sharing = std::ranges::count(gpus, gpus[rank]);
    if (sharing == 1) continue;
    say_once(*mpi, fmt::format("{} ranks share a GPU ({}): the ranks exchange tensors through host memory, not NCCL; "
                               "slower than a rank a GPU",
                               sharing, gpus[rank]));
    return mpi;
  }
  return make_nccl_communicator(std::move(mpi));
}

}  // namespace

std::unique_ptr<Communicator> make_communicator(const std::string& device,
                                                const std::function<void(Communicator& ranks)>& met) {
  // This comes before MPI: a rank that refuses here ends, and its launcher ends the others.
  const bool cuda = resolve_device(device) == "cuda";
  std::unique_ptr<Communicator> communicator;
  if (!started_by_mpi()) {
    refuse_lone_tasks();
    communicator = make_single_communicator();
    if (met) met(*communicator);
  } else {
    auto mpi = std::make_unique<MpiCommunicator>();
    const bool some_cuda = mpi->maximum(cuda ? 1 : 0) != 0, some_cpu = mpi->maximum(cuda ? 0 : 1) != 0;
    if (some_cuda && some_cpu) {
      refuse(
          "pipeline.device = {}: some ranks can use a GPU and others cannot (rank {}: {}); set pipeline.device = cpu",
          device, mpi->rank(), cuda ? "it can" : find_cuda().missing);
    }
    if (met) met(*mpi);
    communicator = cuda ? choose_for_cuda(std::move(mpi)) : std::move(mpi);
  }
  if (device == "auto" && !cuda && find_cuda().driver) {
    say_once(*communicator,
             fmt::format("computing on the CPU although there is an NVIDIA driver: {}", find_cuda().missing));
  }
  return communicator;
}

}  // namespace couplet
