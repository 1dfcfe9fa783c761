#include "pipeline/distributed/make_communicator.h"

#include "pipeline/distributed/cuda_library.h"
#include "pipeline/distributed/device.h"
#include "pipeline/distributed/mpi_communicator.h"
#include "pipeline/distributed/nccl_communicator.h"
#include "storage/error.h"
#include "storage/host_name.h"

#include <fmt/format.h>
#include <mpi.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <utility>

namespace couplet {
namespace {

/// The variable by which a launcher tells each process how many it starts, the nearest launcher's first: of Open MPI's
/// mpirun; of Hydra (MPICH, Intel MPI) and srun --mpi=pmi2; of Hydra on this host; of srun. Null: there is none.
const char* count_variable() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS", "SLURM_STEP_NUM_TASKS"})
    if (std::getenv(name) != nullptr) return name;
  return nullptr;
}

/// Refuses one of several processes that know nothing of each other, as their launcher belongs to another MPI than this
/// program: each would do all of the work.
void refuse_lone_process() {
  const char* const variable = count_variable();
  if (variable == nullptr || std::atoi(std::getenv(variable)) < 2) return;
  refuse(
      "{0} processes were started ({1} = {0}) but no MPI among them: the launcher does not belong to {2}, with which "
      "this program is built. Use its own, or srun --mpi=pmix (for MPICH pmi2; srun --mpi=list shows all); to work "
      "in one process, unset {1}",
      std::getenv(variable), variable, mpi_name());
}

void say_once(const Communicator& communicator, const std::string& line) {
  if (communicator.is_root()) fmt::print(stderr, "{}\n", line);
}

/// How the ranks of a job on GPUs communicate: NCCL needs a GPU for each.
std::unique_ptr<Communicator> choose_for_cuda(std::unique_ptr<MpiCommunicator> mpi) {
  if (mpi->size() == 1) return mpi;
  const std::vector<std::string> gpus = gpu_places(*mpi);
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

/// Refuses ranks of which some can use a GPU and others cannot.
void refuse_mixed_devices(MpiCommunicator& mpi, const std::string& device, bool cuda) {
  const std::vector<std::string> missing =
      mpi.gather_text(cuda ? "" : fmt::format("on {}: {}", host_name(), find_cuda().missing));
  const auto first = std::ranges::find_if_not(missing, &std::string::empty);
  if (first == missing.end() || std::ranges::none_of(missing, &std::string::empty)) return;
  refuse("pipeline.device = {}: some ranks can use a GPU and others cannot (rank {} {}); set pipeline.device = cpu",
         device, first - missing.begin(), *first);
}

}  // namespace

bool started_by_mpi() {
  const auto set = [](const char* name) { return std::getenv(name) != nullptr; };
  return set("OMPI_COMM_WORLD_SIZE") || set("PMIX_RANK") || set("PMI_RANK");
}

std::vector<std::string> gpu_places(Communicator& communicator) {
  return communicator.gather_text(
      fmt::format("{} of {}", find_cuda().library->place_of(gpu_number(communicator)), host_name()));
}

std::unique_ptr<Communicator> make_communicator(const std::string& device,
                                                const std::function<void(Communicator& ranks)>& met) {
  // This comes before MPI: a rank that refuses here ends, and its launcher ends the others.
  const bool cuda = resolve_device(device) == "cuda";
  std::unique_ptr<Communicator> communicator;
  if (!started_by_mpi()) {
    refuse_lone_process();
    communicator = make_single_communicator();
    if (met) met(*communicator);
  } else {
    auto mpi = std::make_unique<MpiCommunicator>();
    if (mpi->size() == 1) refuse_lone_process();
    if (met) met(*mpi);
    refuse_mixed_devices(*mpi, device, cuda);
    communicator = cuda ? choose_for_cuda(std::move(mpi)) : std::move(mpi);
  }
  if (device == "auto" && !cuda && find_cuda().driver) {
    say_once(*communicator,
             fmt::format("computing on the CPU although there is an NVIDIA driver: {}", find_cuda().missing));
  }
  return communicator;
}

std::string mpi_name() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING] = "";
  int length = 0;
  MPI_Get_library_version(text, &length);
  std::string words(text, static_cast<std::size_t>(length));
  words.resize(std::min(words.find_first_of(",\n"), words.size()));  // "Open MPI v4.1.4, package: ..."
  constexpr std::string_view label = " Version:\t";                  // "MPICH Version:\t4.0.2"
  if (const auto at = words.find(label); at != words.npos)
    return fmt::format("{} {}", words.substr(0, at), words.substr(at + label.size()));
  return words;
}

bool is_open_mpi() {
  return mpi_name().starts_with("Open MPI");
}

void forget_launcher() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "PMI_SIZE", "MPI_LOCALNRANKS"})
    ::unsetenv(name);
}

}  // namespace couplet
