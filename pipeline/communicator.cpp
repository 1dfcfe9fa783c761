#include "pipeline/communicator.h"

#include "pipeline/cuda_library.h"
#include "pipeline/device.h"
#include "pipeline/mpi_communicator.h"
#include "pipeline/nccl_communicator.h"
#include "storage/error.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace couplet {
namespace {

bool started_by_mpi() {
  const auto set = [](const char* name) { return std::getenv(name) != nullptr; };
  return set("OMPI_COMM_WORLD_SIZE") || set("PMIX_RANK") || set("PMI_RANK");
}

/// srun started several tasks that know nothing of each other: each would do all of the work.
void refuse_lone_tasks() {
  const char* tasks = std::getenv("SLURM_STEP_NUM_TASKS");
  if (tasks && std::atoi(tasks) > 1)
    refuse("srun started {} tasks but no MPI among them; use srun --mpi=pmix (srun --mpi=list shows what there is)",
           tasks);
}

at::Tensor one_number(std::int64_t value) {
  return at::full({1}, value, at::kLong);
}

at::Tensor bytes_of(const std::string& text, std::int64_t length) {
  at::Tensor bytes = at::zeros({length}, at::kByte);
  if (!text.empty()) std::memcpy(bytes.data_ptr(), text.data(), text.size());
  return bytes;
}

std::string text_of(const at::Tensor& bytes, std::int64_t length) {
  return {static_cast<const char*>(bytes.const_data_ptr()), static_cast<std::size_t>(length)};
}

void say_once(const Communicator& communicator, const std::string& line) {
  if (communicator.is_root()) fmt::print(stderr, "{}\n", line);
}

/// How the ranks of a job on GPUs talk: NCCL needs a GPU for each.
std::unique_ptr<Communicator> choose_for_cuda(std::unique_ptr<MpiCommunicator> mpi) {
  if (mpi->size() == 1) return mpi;
  const int devices = find_cuda().devices;
  const std::int64_t crowded = mpi->maximum(mpi->local_size() > devices ? mpi->local_size() : 0);
  if (crowded == 0) return make_nccl_communicator(std::move(mpi));
  say_once(
      *mpi,
      fmt::format(
          "{} ranks on a host with fewer GPUs ({} here): they share them and exchange tensors through host memory, not "
          "NCCL; slower than a rank a GPU",
          crowded, devices));
  return mpi;
}

}  // namespace

std::int64_t Communicator::maximum(std::int64_t value) {
  return all_gather(one_number(value)).max().item<std::int64_t>();
}

std::string Communicator::broadcast_text(const std::string& text, int root) {
  at::Tensor length = one_number(static_cast<std::int64_t>(text.size()));
  broadcast(length, root);
  const auto count = length.item<std::int64_t>();
  at::Tensor bytes = rank() == root ? bytes_of(text, count) : at::empty({count}, at::kByte);
  broadcast(bytes, root);
  return text_of(bytes, count);
}

std::vector<std::string> Communicator::gather_text(const std::string& text) {
  const at::Tensor lengths = all_gather(one_number(static_cast<std::int64_t>(text.size())));
  const at::Tensor bytes = all_gather(bytes_of(text, lengths.max().item<std::int64_t>()));
  std::vector<std::string> texts;
  for (int from = 0; from < size(); ++from) {
    texts.push_back(text_of(bytes.select(0, from), lengths.select(0, from).item<std::int64_t>()));
  }
  return texts;
}

std::unique_ptr<Communicator> make_communicator(const std::string& device) {
  // Before MPI: a rank that refuses here ends, and its launcher ends the others.
  const bool cuda = resolve_device(device) == "cuda";
  std::unique_ptr<Communicator> communicator;
  if (!started_by_mpi()) {
    refuse_lone_tasks();
    communicator = make_single_communicator();
  } else {
    auto mpi = std::make_unique<MpiCommunicator>();
    const bool some_cuda = mpi->maximum(cuda ? 1 : 0) != 0, some_cpu = mpi->maximum(cuda ? 0 : 1) != 0;
    if (some_cuda && some_cpu) {
      refuse(
          "pipeline.device = {}: some ranks can use a GPU and others cannot (rank {}: {}); set pipeline.device = cpu",
          device, mpi->rank(), cuda ? "it can" : find_cuda().missing);
    }
    communicator = cuda ? choose_for_cuda(std::move(mpi)) : std::move(mpi);
  }
  if (device == "auto" && !cuda && find_cuda().driver) {
    say_once(*communicator,
             fmt::format("computing on the CPU although there is an NVIDIA driver: {}", find_cuda().missing));
  }
  return communicator;
}

}  // namespace couplet
