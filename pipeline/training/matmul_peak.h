// The rate at which this machine computes in the best of cases: square matrix products at the precision and on the
// threads of training.
#pragma once

#include "pipeline/distributed/communicator.h"

#include <c10/core/Device.h>

#include <string>

namespace couplet {

/// Returns the FLOP/s of all ranks together, which measure for about 0.3 s at the same time: on a CPU the fastest
/// product of 512 or 1024 square, by the operation that models use; on a GPU the fastest run of products of 4096 or
/// 8192 square. `precision` is "float32" or "bfloat16". Collective.
double measure_matmul_peak(const std::string& precision, c10::Device device, Communicator& communicator);

}  // namespace couplet
