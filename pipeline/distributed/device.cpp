#include "pipeline/distributed/device.h"

#include "pipeline/distributed/cuda_library.h"
#include "storage/error.h"

#include <c10/core/impl/VirtualGuardImpl.h>

namespace couplet {

std::string resolve_device(const std::string& device) {
  if (device == "cpu") return device;
  if (device != "cuda" && device != "auto") refuse("pipeline.device = {}: cpu, cuda and auto are known", device);
  const Cuda& cuda = find_cuda();
  if (cuda.library) return "cuda";
  if (device == "auto") return "cpu";
  refuse("pipeline.device = cuda: {}; install what is missing, or set pipeline.device = cpu", cuda.missing);
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
