#include "tests/pipeline/ranks.h"

#include "pipeline/distributed/cuda_library.h"
#include "pipeline/distributed/device.h"
#include "pipeline/distributed/make_communicator.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <string>

namespace couplet {
namespace {

Communicator* communicator = nullptr;

std::string device_name() {
  const char* const name = std::getenv("COUPLET_TEST_DEVICE");
  return name ? name : "cpu";
}

/// Ranks other than 0 print their failures only.
class Failures : public testing::EmptyTestEventListener {
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    fmt::print(stderr, "rank {}: {}:{}: {}\n", communicator->rank(), result.file_name() ? result.file_name() : "?",
               result.line_number(), result.message());
  }
};

/// What ctest takes for skipped.
constexpr int skipped = 77;

int run_tests() {
  if (device_name() == "cuda" && !find_cuda().library) {
    fmt::print("skipped: {}\n", find_cuda().missing);
    return skipped;
  }
  // One rank has nobody to talk to and would take MPI: this is how NCCL is tried on one GPU.
  const bool nccl = std::getenv("COUPLET_TEST_NCCL") != nullptr;
  const auto ranks_of_this_run = nccl ? make_nccl_communicator() : make_communicator(device_name());
  communicator = ranks_of_this_run.get();
  if (!communicator->is_root()) {
    auto& listeners = testing::UnitTest::GetInstance()->listeners();
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new Failures);
  }
  const bool failed = RUN_ALL_TESTS() != 0 || testing::UnitTest::GetInstance()->test_to_run_count() == 0;
  return communicator->maximum(failed ? 1 : 0) != 0 ? 1 : 0;
}

}  // namespace

Communicator& ranks() {
  return *communicator;
}

c10::Device test_device() {
  return pick_device(device_name(), ranks());
}

}  // namespace couplet

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  try {
    return couplet::run_tests();
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    couplet::abort_all(1);
  }
}
