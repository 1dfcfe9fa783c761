// The ranks a test runs on: one process alone, or as many as mpirun started.
#pragma once

#include "pipeline/distributed/communicator.h"

#include <c10/core/Device.h>

namespace couplet {

Communicator& ranks();
/// The device under test: the CPU, or this rank's GPU with COUPLET_TEST_DEVICE=cuda. With COUPLET_TEST_NCCL besides
/// the ranks meet over NCCL, even if it is one.
c10::Device test_device();

}  // namespace couplet
