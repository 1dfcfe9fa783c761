#include "pipeline/distributed/device.h"

#include "pipeline/distributed/cuda_library.h"
#include "pipeline/distributed/make_communicator.h"
#include "storage/error.h"
#include "tests/pipeline/ranks.h"

#include <gtest/gtest.h>
#include <mpi.h>

#include <cstdlib>
#include <utility>

namespace couplet {
namespace {

Error refusal(const std::string& device) {
  try {
    resolve_device(device);
  } catch (const Error& error) {
    return error;
  }
  return Error("no error");
}

TEST(Device, CpuIsAlwaysThere) {
  EXPECT_EQ(resolve_device("cpu"), "cpu");
  EXPECT_EQ(pick_device("cpu", ranks()), c10::Device(c10::kCPU));
}

TEST(Device, UnknownNamesAreRefused) {
  const Error error = refusal("gpu");
  EXPECT_EQ(error.status(), exit_usage);
  EXPECT_NE(std::string(error.what()).find("pipeline.device = gpu"), std::string::npos) << error.what();
}

TEST(Device, CudaIsRefusedWithTheReasonWhereItCannotBeUsed) {
  if (find_cuda().library) {
    EXPECT_EQ(resolve_device("auto"), "cuda");
    EXPECT_GE(find_cuda().devices, 1);
    EXPECT_EQ(pick_device("cuda", ranks()), c10::Device(c10::kCUDA, 0));
    return;
  }
  for (const char* name : {"SLURM_GPUS", "SLURM_JOB_GPUS", "SLURM_GPUS_ON_NODE", "CUDA_VISIBLE_DEVICES"})
    unsetenv(name);
  EXPECT_EQ(resolve_device("auto"), "cpu");
  EXPECT_FALSE(find_cuda().missing.empty());
  const Error error = refusal("cuda");
  const std::string text = error.what();
  EXPECT_EQ(error.status(), exit_usage);
  EXPECT_NE(text.find(find_cuda().missing), std::string::npos) << text;
  EXPECT_NE(text.find("pipeline.device = cpu"), std::string::npos) << text;
  EXPECT_THROW(make_communicator("cuda"), Error);
  EXPECT_THROW(make_nccl_communicator(), Error);
}

// A job that was given GPUs must not compute on CPUs for days because a library is missing.
TEST(Device, AutoIsRefusedInAJobWithGpusThatCannotBeUsed) {
  if (find_cuda().library) GTEST_SKIP() << "there is a GPU";
  const auto with = [](const char* name, const char* value) {
    setenv(name, value, 1);
    const Error error = refusal("auto");
    EXPECT_EQ(resolve_device("cpu"), "cpu");
    unsetenv(name);
    return std::string(error.what());
  };
  for (const auto& [name, value] :
       {std::pair{"SLURM_JOB_GPUS", "0,1"}, std::pair{"SLURM_GPUS_ON_NODE", "4"},
        std::pair{"SLURM_GPUS_PER_TASK", "a100:1"}, std::pair{"CUDA_VISIBLE_DEVICES", "0"}}) {
    const std::string text = with(name, value);
    EXPECT_NE(text.find(std::string(name) + " = " + value), std::string::npos) << text;
    EXPECT_NE(text.find(find_cuda().missing), std::string::npos) << text;
  }
  for (const auto& [name, value] : {std::pair{"SLURM_GPUS_ON_NODE", "0"}, std::pair{"SLURM_GPUS", "a100:0"},
                                    std::pair{"CUDA_VISIBLE_DEVICES", "-1"}, std::pair{"CUDA_VISIBLE_DEVICES", ""}})
    EXPECT_EQ(with(name, value), "no error") << name << " = " << value;
}

// A process that mpirun did not start never touches MPI.
TEST(Communicator, AProcessAloneDoesNotNeedMpi) {
  EXPECT_EQ(make_communicator("auto")->size(), 1);
  int initialised = 1;
  MPI_Initialized(&initialised);
  EXPECT_EQ(initialised, 0);
}

}  // namespace
}  // namespace couplet
