// Which device a process computes on.
#pragma once

#include "pipeline/distributed/communicator.h"

#include <c10/core/Device.h>

#include <string>

namespace couplet {

/// Turns a value of `pipeline.device` into "cpu" or "cuda". "auto" becomes "cuda" where a GPU and libcouplet_cuda.so
/// can be used; where they cannot, "cuda" is refused, saying what was looked for.
std::string resolve_device(const std::string& device);
/// Returns this rank's device: the CPU, or the GPU whose number is the local rank (modulo the host's GPUs), which
/// becomes the current one.
c10::Device pick_device(const std::string& device, const Communicator& communicator);

}  // namespace couplet
