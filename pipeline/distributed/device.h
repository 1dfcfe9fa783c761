// Which device a process computes on.
#pragma once

#include "pipeline/distributed/communicator.h"

#include <c10/core/Device.h>

#include <string>

namespace couplet {

/// "cpu" or "cuda" for a value of `pipeline.device`. "auto" is "cuda" where a GPU and libcouplet_cuda.so can be used;
/// "cuda" where they cannot is refused, saying what was looked for.
std::string resolve_device(const std::string& device);
/// This rank's device: the CPU, or the GPU numbered by the local rank (modulo the host's GPUs), which becomes the
/// current one.
c10::Device pick_device(const std::string& device, const Communicator& communicator);

}  // namespace couplet
