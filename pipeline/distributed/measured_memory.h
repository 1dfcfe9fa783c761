// The memory of this rank's device, as LibTorch and the system tell of it.
#pragma once

#include "pipeline/distributed/communicator.h"
#include "pipeline/tensor/device_memory.h"

#include <c10/core/Device.h>

#include <memory>

namespace couplet {

/// The memory of a device that `processes` share: of a CPU, the tensors that a thread and those that it starts make; of
/// a GPU, all tensors on it.
std::unique_ptr<DeviceMemory> measured_memory(c10::Device device, std::int64_t processes);
/// That of this rank's device, which it shares with the ranks of its host. Collective.
std::unique_ptr<DeviceMemory> measured_memory(c10::Device device, Communicator& communicator);

}  // namespace couplet
