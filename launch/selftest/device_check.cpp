#include "launch/selftest/checks.h"

#include "pipeline/distributed/cuda_library.h"
#include "pipeline/distributed/device.h"
#include "pipeline/distributed/make_communicator.h"
#include "pipeline/tensor/flops.h"
#include "pipeline/training/matmul_peak.h"
#include "storage/error.h"

#include <ATen/ATen.h>

#include <set>

namespace couplet {
namespace {

/// Whether the program was built with CUDA, so that libcouplet_cuda.so belongs to it.
#ifdef COUPLET_CUDA
constexpr bool built_with_cuda = true;
#else
constexpr bool built_with_cuda = false;
#endif

/// A product on the device against the CPU's; "" if it is right. Not collective.
std::string wrong_product(c10::Device device) {
  const at::Tensor a = at::arange(64 * 64, at::kFloat).view({64, 64}).remainder(7) - 3;
  const at::Tensor expected = a.mm(a.t()), found = a.to(device).mm(a.t().to(device)).cpu();
  if (at::equal(found, expected)) return "";  // whole numbers, which float32 and TF32 hold
  return fmt::format("a matrix product on {} differs from the CPU's by {:.3g}", device.str(),
                     (found - expected).abs().max().item<double>());
}

/// Why GPUs that are there, or that this process was given, cannot be used; "" if nothing is wrong.
std::string unusable_gpus() {
  const Cuda& cuda = find_cuda();
  if (cuda.library) return "";
  if (cuda.driver && built_with_cuda) return "there is an NVIDIA driver, but no GPU can be used: " + cuda.missing;
  try {
    resolve_device("auto");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

Outcome check_device(Communicator& communicator, c10::Device device) {
  const std::string unusable = unusable_gpus(), wrong = wrong_product(device);
  const double rate = measure_matmul_peak("float32", device, communicator);
  if (!unusable.empty()) return failed("{}", unusable);
  if (!wrong.empty()) return failed("{}", wrong);
  const std::string on = device.is_cpu() ? fmt::format("CPU; no GPU is used: {}", find_cuda().missing)
                                         : find_cuda().library->place_of(gpu_number(communicator));
  return passed("products of float32 matrices reach {}/s on all ranks; {}", flops_text(rate), on);
}

Outcome check_nccl(Communicator& communicator, c10::Device device) {
  if (device.is_cpu()) return skipped("no GPU is used");
  if (communicator.size() == 1) return check_collectives(*make_nccl_communicator(), device);
  const std::vector<std::string> gpus = gpu_places(communicator);
  if (std::set<std::string>(gpus.begin(), gpus.end()).size() < gpus.size())
    return skipped("ranks share a GPU, and so exchange tensors through host memory");
  return check_collectives(communicator, device);
}

}  // namespace couplet
