// Which device a process computes on.
#pragma once

#include "pipeline/distributed/communicator.h"

#include <c10/core/Device.h>

#include <string>

namespace couplet {

/// Turns a value of `pipeline.device` into "cpu" or "cuda". "auto" becomes "cuda" where a GPU and libcouplet_cuda.so
/// can be used; where they cannot, "cuda" is refused, saying what was looked for, and so is "auto" in a job that was
/// given GPUs (SLURM_JOB_GPUS and the like, CUDA_VISIBLE_DEVICES): it would compute on CPUs for days unnoticed.
std::string resolve_device(const std::string& device);
/// The number of this rank's GPU among those that it sees: its local rank, modulo their number.
int gpu_number(const Communicator& communicator);
/// Returns this rank's device: the CPU, or its GPU (`gpu_number`), which becomes the current one.
c10::Device pick_device(const std::string& device, const Communicator& communicator);

}  // namespace couplet
