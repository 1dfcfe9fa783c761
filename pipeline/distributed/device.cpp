#include "pipeline/distributed/device.h"

#include "pipeline/distributed/cuda_library.h"
#include "storage/error.h"

#include <c10/core/impl/VirtualGuardImpl.h>
#include <fmt/format.h>

#include <cstdlib>
#include <string_view>

namespace couplet {
namespace {

/// Empty where it is not set.
std::string_view variable(const char* name) {
  const char* const value = std::getenv(name);
  return value ? value : "";
}

/// The variable of the environment by which Slurm or a user gave this process GPUs, as "NAME = value"; empty if none
/// did.
std::string given_gpus() {
  // Numbers, of which 0 says none: "2", "a100:4".
  for (const char* name :
       {"SLURM_GPUS", "SLURM_GPUS_PER_NODE", "SLURM_GPUS_PER_TASK", "SLURM_GPUS_PER_SOCKET", "SLURM_GPUS_ON_NODE"}) {
    const std::string_view text = variable(name);
    if (!text.empty() && text.substr(text.rfind(':') + 1) != "0") return fmt::format("{} = {}", name, text);
  }
  // Lists, in which 0 is a GPU.
  for (const char* name : {"SLURM_JOB_GPUS", "SLURM_STEP_GPUS", "CUDA_VISIBLE_DEVICES"}) {
    const std::string_view text = variable(name);
    if (!text.empty() && text != "-1" && text != "NoDevFiles") return fmt::format("{} = {}", name, text);
  }
  return "";
}

}  // namespace

std::string resolve_device(const std::string& device) {
  if (device == "cpu") return device;
  if (device != "cuda" && device != "auto") refuse("pipeline.device = {}: cpu, cuda and auto are known", device);
  const Cuda& cuda = find_cuda();
  if (cuda.library) return "cuda";
  const std::string given = given_gpus();
  if (device == "auto" && given.empty()) return "cpu";
  if (device == "auto") {
    refuse(
        "pipeline.device = auto: this process was given GPUs ({}) and can use none: {}; install what is missing "
        "(docs/gpu.md), or set pipeline.device = cpu",
        given, cuda.missing);
  }
  refuse("pipeline.device = cuda: {}; install what is missing (docs/gpu.md), or set pipeline.device = cpu",
         cuda.missing);
}

int gpu_number(const Communicator& communicator) {
  return communicator.local_rank() % find_cuda().devices;
}

c10::Device pick_device(const std::string& device, const Communicator& communicator) {
  if (resolve_device(device) == "cpu") return c10::Device(c10::kCPU);
  const c10::Device gpu(c10::kCUDA, static_cast<c10::DeviceIndex>(gpu_number(communicator)));
  c10::impl::VirtualGuardImpl(c10::kCUDA).setDevice(gpu);
  return gpu;
}

}  // namespace couplet
